"""In which row does a handler keep what it knows about a key?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Field, Model

from django_eventbus.events.keys import join_key, require_fields
from django_eventbus.exceptions import ContractError, Reject

StateKey = str | tuple[str, ...] | Callable[[Any], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRow:
    """Lead from an event to the row of its key."""

    model: type[Model]
    field: Field[Any, Any]  # of the model; holds the key
    source: Callable[[Any], object]  # event -> key
    described_as: str  # where the key comes from, in words

    def key_of(self, event: object) -> object:
        """Return the key of the row; raise Reject for an event that has none: no retry helps."""
        value = self.source(event)
        if isinstance(value, tuple):
            value = join_key(value, escape=True)
        if value is None or value == "":
            raise Reject(f"{type(event).__qualname__}: the key of its state ({self.described_as}) is empty.")
        return value


def declare_state(
    shown: str, events: tuple[type[Any], ...], *, key: StateKey, model: object, field: str | None
) -> StateRow:
    """Find the row of a handler; raise ContractError where events or model have no such field."""
    if not isinstance(model, type) or not issubclass(model, Model) or model is Model or model._meta.abstract:
        raise ContractError(f"{shown}: state={model!r} is no model with a table. Give the class of a Django model.")
    if callable(key):
        source, described_as = key, f"{getattr(key, '__qualname__', repr(key))}(event)"
    elif key and isinstance(key, str | tuple):
        for cls in events:
            require_fields(cls, key)
        names = (key,) if isinstance(key, str) else key
        source, described_as = attrgetter(*names), "|".join(names)
    else:
        raise ContractError(f"{shown}: key={key!r}; give a field of the events, a tuple of them, or a callable.")
    return StateRow(model=model, field=_field(shown, model, field), source=source, described_as=described_as)


def _field(shown: str, model: type[Model], name: str | None) -> Field[Any, Any]:
    if name is None:
        return model._meta.pk
    try:
        found = model._meta.get_field(name)
    except FieldDoesNotExist:
        known = ", ".join(field.name for field in model._meta.concrete_fields)
        raise ContractError(f"{shown}: state_key={name!r} is no field of {model.__qualname__} ({known}).") from None
    if not isinstance(found, Field):
        raise ContractError(f"{shown}: state_key={name!r} of {model.__qualname__} is no column.")
    return found
