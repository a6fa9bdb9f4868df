"""Which declarations around domain events are wrong, as far as only a loaded project can show?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from django_eventbus.conf import BusConfig
from django_eventbus.events.contract import Dispatch, EventContract
from django_eventbus.events.inspection import Problem
from django_eventbus.events.registry import events

from .handler import Handler
from .translation import translators

NEVER_STORED = frozenset({Dispatch.INLINE, Dispatch.ON_COMMIT})


def find_problems(
    contracts: Iterable[EventContract], handlers: Sequence[Handler], configs: Iterable[BusConfig]
) -> list[Problem]:
    """Return every problem of domain events and of what handles them."""
    found = [problem for contract in contracts for problem in _translation(contract)]
    for handler in handlers:
        found += [*_saga(handler), *_idle_options(handler)]
    found += [problem for config in configs for handler in handlers for problem in _database(handler, config)]
    return found


def _translation(contract: EventContract) -> Iterator[Problem]:
    if contract.must_translate and not translators.of(contract.cls):
        yield Problem(
            id="E080",
            message=f"{contract.label} must be translated for other services, and no function does it.",
            hint=f"Write @translates({contract.cls.__qualname__}) above a function that returns what they get to see.",
            obj=contract.cls,
        )


def _database(handler: Handler, config: BusConfig) -> Iterator[Problem]:
    inline = [name for name, dispatch in _dispatches(handler) if dispatch is Dispatch.INLINE]
    if inline and handler.using not in {None, config.database}:
        yield Problem(
            id="E081",
            message=f"Handler {handler.name}: {', '.join(inline)} is dispatched inline, in a transaction on database "
            f"{config.database!r}; what the handler changes on {handler.using!r} would not commit together with it.",
            hint="Leave using= out, or declare the event with dispatch='queued'.",
        )


def _saga(handler: Handler) -> Iterator[Problem]:
    never_stored = [name for name, dispatch in _dispatches(handler) if dispatch in NEVER_STORED]
    if never_stored and handler.saga_key is not None:
        yield Problem(
            id="E082",
            message=f"Saga {handler.name}: {', '.join(never_stored)} is never stored, so that it could neither wait "
            "for its instance nor be told from a repetition.",
            hint="Declare the event with dispatch='queued'.",
        )


def _idle_options(handler: Handler) -> Iterator[Problem]:
    if not all(dispatch in NEVER_STORED for _, dispatch in _dispatches(handler)):
        return
    idle = {
        "retry": handler.retry is not None,
        "on_dead_letter": handler.on_dead_letter != "continue",
        "timeout": handler.timeout is not None,
        "idempotent": handler.is_idempotent,
        "dedupe_key": handler.dedupe_key is not None,
    }
    if named := [f"{name}=" for name, is_set in idle.items() if is_set]:
        yield Problem(
            id="W080",
            message=f"Handler {handler.name}: its events are never stored, so {', '.join(named)} has no effect.",
            hint="Leave it out, or declare the events with dispatch='queued'.",
        )


def _dispatches(handler: Handler) -> list[tuple[str, Dispatch | None]]:
    return [(cls.__qualname__, events.contract_of(cls).dispatch) for cls in handler.events]
