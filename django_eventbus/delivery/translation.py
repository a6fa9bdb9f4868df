"""Which integration events tell other services what a domain event means to them?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from django_eventbus.events.contract import EventContract
from django_eventbus.events.registry import events
from django_eventbus.exceptions import ContractError, NotAnEvent, NotPublishable

from .cascades import events_in
from .handler import read_function
from .registry import Event, Published

A = TypeVar("A", bound=Event)
R = TypeVar("R", bound=Published)
Translator = Callable[[Any], Any]


class TranslatorRegistry:
    """Know the translators of every domain event. Filled while modules are imported, then read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects _by_class while it is extended
        self._by_class: Mapping[type[Any], tuple[Translator, ...]] = {}

    def register(self, cls: type[Any], function: Translator) -> None:
        """Add a translator; a function that was imported again replaces itself."""
        with self._lock:
            others = (known for known in self._by_class.get(cls, ()) if name_of(known) != name_of(function))
            self._by_class = {**self._by_class, cls: (*others, function)}

    def of(self, cls: type[Any]) -> tuple[Translator, ...]:
        """Return the translators of a domain event, in order of declaration."""
        return self._by_class.get(cls, ())

    @contextmanager
    def isolated(self) -> Iterator[TranslatorRegistry]:
        """Forget, at the end of the block, what was registered inside it. For tests; not for several threads."""
        saved = self._by_class
        try:
            yield self
        finally:
            self._by_class = saved


translators = TranslatorRegistry()


def translates(event: type[A], /) -> Callable[[Callable[[A], R]], Callable[[A], R]]:
    """Declare a function that tells other services of a domain event; it stays a plain callable.

    Whenever that event is published, however it is dispatched, what the function returns (an integration event,
    several, or None) is published in the same transaction. Raises ContractError for what can be seen at once.
    """
    shown = getattr(event, "__qualname__", repr(event))
    try:
        contract = events.contract_of(event)
    except NotAnEvent as exc:
        raise ContractError(f"@translates({shown}): {exc}") from exc
    if not contract.is_domain_event:
        raise ContractError(f"@translates({shown}): it is no @domain_event, and travels as it is.")

    def decorate(function: Callable[[A], R]) -> Callable[[A], R]:
        call = read_function(function)
        if call.takes_context or call.is_async:
            raise ContractError(f"{name_of(function)} translates {shown}: make it a plain function of the event alone.")
        translators.register(event, function)
        return function

    return decorate


def translate(contract: EventContract, event: object) -> list[Any]:
    """Return the integration events that a domain event becomes; raise NotPublishable where it needs some in vain."""
    functions = translators.of(contract.cls)
    if not functions and contract.must_translate:
        raise NotPublishable(
            f"{contract.label} must be translated, and nothing does it. Write @translates({contract.cls.__qualname__}) "
            "above a function that returns the event for other services."
        )
    return [made for function in functions for made in _translated(function, event)]


def name_of(function: Translator) -> str:
    """Name a translator as messages and descriptions do."""
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def _translated(function: Translator, event: object) -> Iterator[Any]:
    for made in events_in(function(event), of=name_of(function)):
        if events.contract_of(made).is_domain_event:
            raise NotPublishable(
                f"{name_of(function)} translated {type(event).__qualname__} into {type(made).__qualname__}, a domain "
                "event too, which no other service can see. Return events declared with @event."
            )
        yield made
