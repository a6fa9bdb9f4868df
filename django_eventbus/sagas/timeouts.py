"""As which message does a timeout come back to its saga?"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from django_eventbus.events.domain import domain_event
from django_eventbus.events.naming import to_kebab

from .declaration import SagaDeclaration

_classes: WeakKeyDictionary[SagaDeclaration, type[Any]] = WeakKeyDictionary()


def timeout_event(declaration: SagaDeclaration) -> type[Any]:
    """Return the class of a saga's timeouts: a domain event, queued, whose key is the instance's.

    Each saga has a class of its own, so that no other saga is asked about its timeouts.
    """
    made = _classes.get(declaration)
    if made is None:
        made = _classes[declaration] = _make(declaration)
    return made


def timeout_name(saga: str) -> str:
    """Return the name under which a saga's timeouts travel: shop.order-saga.timeout for shop.OrderSaga. It is wire."""
    return ".".join((*map(to_kebab, saga.split(".")), "timeout"))


def _make(declaration: SagaDeclaration) -> type[Any]:
    cls = declaration.cls
    body = {
        "__module__": cls.__module__,
        "__qualname__": f"{cls.__qualname__}.Timeout",
        "__doc__": f"A timeout of saga {declaration.name} is due.",
        "__annotations__": {"key": str, "name": str},
    }
    return domain_event(timeout_name(declaration.name), dispatch="queued", key="key")(type("Timeout", (), body))
