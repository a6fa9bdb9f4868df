"""What does the body of a saga class declare?"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypedDict, get_args

from django_eventbus.delivery.handler import AfterDeadLetter
from django_eventbus.delivery.names import app_label_of, default_name, legal_name
from django_eventbus.delivery.retry import RetryPolicy
from django_eventbus.exceptions import ContractError

from .correlation import CorrelationDeclaration
from .declaration import Concurrency, SagaDeclaration, WhenUnknown
from .routes import read_routes
from .routing import EventMark, Mark, TimeoutMark, marks_of
from .state import read_state_type
from .transitions import Transitions, TransitionTable, read_transitions, trigger_name

if TYPE_CHECKING:
    from .saga import Saga

_VERSION = re.compile(r"[a-zA-Z0-9._-]+")


class SagaOptions(TypedDict, total=False):
    """What stands in the class statement, as in `class OrderFulfilment(Saga[State], version=2)`."""

    name: str  # else `<app_label>.<class>`; stored with every instance, so give it when the class is renamed
    version: int | str  # of the state, 1 by default; raise it when old states must be upcast
    correlate: CorrelationDeclaration  # field name, tuple of names, or callable, for events that do not say their own
    concurrency: Concurrency  # lock: steps wait for each other; optimistic: the one that comes second runs again
    not_found: WhenUnknown  # an event without instance: retry (it may be early), ignore, or dead_letter
    transitions: TransitionTable  # stage -> event or timeout -> stage or stages; None is the start
    stage: str  # the field of the state that `transitions` speaks of; "stage" by default
    retention: timedelta  # how long ended instances are kept; else SAGA['RETENTION']
    retry: RetryPolicy  # else the bus's RETRY
    on_dead_letter: AfterDeadLetter  # whether later messages of a key go on, or wait for an operator's verdict
    using: str  # database alias; else the bus's DATABASE


def read_declaration(
    cls: type[Saga[Any]], state: object, options: SagaOptions, *, reserved: frozenset[str]
) -> SagaDeclaration:
    """Return what a class declares; raise ContractError for what can be seen at once."""
    shown = cls.__qualname__
    _require_options(shown, options)
    app_label = app_label_of(cls)
    name = legal_name(options.get("name") or default_name(cls, app_label), of=shown)
    marked = dict(_marked(cls))
    for method in marked.keys() & reserved:
        raise ContractError(f"{shown}.{method} hides what every saga has. Name the method otherwise.")
    when_unknown = options.get("not_found", "retry")
    routes = read_routes(cls, _events(cls, marked), default=options.get("correlate"), when_unknown=when_unknown)
    timeouts = _timeouts(cls, marked)
    kept = read_state_type(shown, state, version=str(options.get("version", 1)))
    return SagaDeclaration(
        name=name,
        cls=cls,
        app_label=app_label,
        state=kept,
        routes=routes,
        timeouts=timeouts,
        concurrency=options.get("concurrency", "lock"),
        when_unknown=when_unknown,
        transitions=_transitions(name, kept.cls, options, {*routes, *timeouts}),
        retention=options.get("retention"),
        retry=options.get("retry"),
        on_dead_letter=options.get("on_dead_letter", "continue"),
        using=options.get("using"),
    )


def _require_options(shown: str, options: SagaOptions) -> None:
    for unknown in options.keys() - SagaOptions.__annotations__.keys():
        likely = get_close_matches(unknown, SagaOptions.__annotations__, n=1)
        hint = f" Did you mean {likely[0]!r}?" if likely else ""
        raise ContractError(f"{shown}: {unknown!r} is no option of a saga.{hint}")
    choices = {"concurrency": Concurrency, "not_found": WhenUnknown, "on_dead_letter": AfterDeadLetter}
    for name, kind in choices.items():
        given, known = options.get(name), get_args(kind)
        if given is not None and given not in known:
            raise ContractError(f"{shown}: {name}={given!r}; give one of {', '.join(map(repr, known))}.")
    version = options.get("version", 1)
    if isinstance(version, bool) or not _VERSION.fullmatch(str(version)):
        raise ContractError(f"{shown}: version={version!r} is neither a number nor text of letters, digits and '._-'.")
    if not isinstance(options.get("retention", timedelta()), timedelta):
        raise ContractError(f"{shown}: retention={options.get('retention')!r}; give a timedelta.")


def _marked(cls: type[Any]) -> Iterator[tuple[str, tuple[Mark, ...]]]:
    """Find the decorated methods, those of bases first; an override without a decorator keeps the base's."""
    for part in reversed(cls.__mro__):
        for name, member in vars(part).items():
            if marks := marks_of(member):
                yield name, marks


def _events(cls: type[Any], marked: Mapping[str, tuple[Mark, ...]]) -> Iterator[tuple[str, EventMark]]:
    for name, marks in marked.items():
        for mark in marks:
            if isinstance(mark, EventMark):
                _require_method(cls, name, takes=("event",))
                yield name, mark


def _timeouts(cls: type[Any], marked: Mapping[str, tuple[Mark, ...]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, marks in marked.items():
        for mark in marks:
            if not isinstance(mark, TimeoutMark):
                continue
            _require_method(cls, name, takes=())
            if found.setdefault(mark.name, name) != name:
                raise ContractError(
                    f"{cls.__qualname__}: timeout {mark.name!r} is taken by {found[mark.name]} and by {name}. Keep one."
                )
    return found


def _require_method(cls: type[Any], name: str, *, takes: tuple[str, ...]) -> None:
    method: Callable[..., Any] = getattr(cls, name)
    shown = f"{cls.__qualname__}.{name}"
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
        raise ContractError(f"{shown} is async. A saga decides, and waits for nothing: write def.")
    try:
        inspect.signature(method).bind("self", *takes)
    except TypeError as exc:
        wanted = ", ".join(("self", *takes))
        raise ContractError(f"{shown}{inspect.signature(method)} is not callable as ({wanted}).") from exc


def _transitions(shown: str, state: type[Any], options: SagaOptions, triggers: set[Any]) -> Transitions | None:
    table, field = options.get("transitions"), options.get("stage", "stage")
    if table is None:
        if "stage" in options:
            raise ContractError(f"{shown}: stage={field!r} names a field for transitions=, and there are none.")
        return None
    if field not in _fields(state):
        raise ContractError(
            f"{shown}: transitions speak of the field {field!r}, which {state.__qualname__} has not. Name it: stage=."
        )
    made = read_transitions(shown, field, table)
    for line in made.lines:
        if line.trigger not in triggers:
            raise ContractError(
                f"{shown}: transitions name {trigger_name(line.trigger)}, which no method of the saga takes."
            )
    return made


def _fields(state: type[Any]) -> Iterable[str]:
    return [field.name for field in dataclasses.fields(state)] if dataclasses.is_dataclass(state) else dir(state)
