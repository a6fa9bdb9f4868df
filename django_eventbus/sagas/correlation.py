"""To which instance of a saga does an event belong?"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from django_eventbus.events.keys import join_key, key_text
from django_eventbus.events.naming import to_kebab
from django_eventbus.exceptions import ContractError, Reject

LONGEST_KEY = 500  # characters: the key stands in an index

CorrelationDeclaration = str | tuple[str, ...] | Callable[[Any], object] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """Read, from one class of events, the key of the instance that an event is for."""

    event: type[Any]
    source: Callable[[Any], object] | None  # None: nothing says it, which the checks report
    described_as: str  # where the key comes from, in words

    def key_of(self, event: object) -> str:
        """Return the key; raise Reject for an event that names no instance, since no retry would change that."""
        if self.source is None:
            raise ContractError(
                f"{self.event.__qualname__} does not say which instance it is for. Give correlate='order_id'."
            )
        value = self.source(event)
        key = join_key(value, escape=True) if isinstance(value, tuple) else key_text(value)
        if not key or len(key) > LONGEST_KEY:
            fault = "is empty" if not key else f"has {len(key)} characters, and {LONGEST_KEY} are allowed"
            raise Reject(f"{self.event.__qualname__}: the key of its saga ({self.described_as}) {fault}.")
        return key


def correlate(event: type[Any], saga: str, *declared: CorrelationDeclaration) -> Correlation:
    """Compile the first declaration that is given, else look for fields named after the saga.

    Those are `order_saga_id` and `order_id` for OrderSaga, then `saga_id`, then `id`. Raises ContractError where a
    declared field is none of the event's.
    """
    chosen = next((each for each in declared if each is not None), None)
    if callable(chosen):
        shown = getattr(chosen, "__qualname__", repr(chosen))
        return Correlation(event=event, source=chosen, described_as=f"{shown}(event)")
    if chosen is None:
        fields = {field.name for field in dataclasses.fields(event)}
        chosen = next((name for name in usual_fields(saga) if name in fields), None)
    if chosen is None:
        return Correlation(event=event, source=None, described_as="nothing")
    if not isinstance(chosen, str | tuple):
        raise ContractError(f"{saga}: correlate={chosen!r}; give a field name, a tuple of names, or a callable.")
    _require_fields(event, saga, chosen)
    names = (chosen,) if isinstance(chosen, str) else chosen
    return Correlation(event=event, source=attrgetter(*names), described_as="|".join(names))


def usual_fields(saga: str) -> tuple[str, ...]:
    """Return the field names that need no `correlate=`, the strongest first."""
    name = to_kebab(saga).replace("-", "_")
    short = re.sub(r"_saga$", "", name)
    return tuple(dict.fromkeys((f"{name}_id", f"{short}_id", "saga_id", "id")))


def _require_fields(event: type[Any], saga: str, chosen: str | tuple[str, ...]) -> None:
    known = [field.name for field in dataclasses.fields(event)]
    for name in (chosen,) if isinstance(chosen, str) else chosen:
        if name not in known:
            raise ContractError(
                f"{saga}: correlate names {name!r}, which is no field of {event.__qualname__} ({', '.join(known)})."
            )
    if not chosen:
        raise ContractError(f"{saga}: correlate={chosen!r} names no field of {event.__qualname__}.")
