"""Which functions handle which events?"""

from __future__ import annotations

import dataclasses
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from difflib import get_close_matches
from types import CodeType, FunctionType
from typing import Any, ClassVar, Protocol, TypedDict, TypeVar, Unpack, get_args, overload

from django_eventbus.conf import BusConfig
from django_eventbus.events.contract import Dispatch, EventContract
from django_eventbus.events.registry import events as known_events
from django_eventbus.exceptions import ContractError, NotAnEvent

from .context import MessageContext
from .groups import HandlerGroup, Target, form_groups
from .handler import SENT_AGAIN_AFTER, AfterDeadLetter, DedupeKey, Handler, Place, read_function
from .names import app_label_of, default_name, legal_name
from .retry import RetryPolicy
from .state import StateRow

__all__ = ["Event", "Handler", "HandlerGroup", "HandlerRegistry", "groups_of", "handler", "handlers"]


class Event(Protocol):
    """Be anything that `@event` made, for type checkers."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


Published = Event | Iterable[Event | Sequence[Event | None] | None] | None
A = TypeVar("A", bound=Event)
B = TypeVar("B", bound=Event)
C = TypeVar("C", bound=Event)
E = TypeVar("E")
R = TypeVar("R", bound=Published | Awaitable[Published])
P = TypeVar("P", bound=Published)


class Handles(Protocol[E]):
    """Decorate a function that takes one event; the function stays what it is."""

    @overload
    def __call__(self, function: Callable[[E], R], /) -> Callable[[E], R]: ...
    @overload
    def __call__(self, function: Callable[[E, MessageContext], R], /) -> Callable[[E, MessageContext], R]: ...


class HandlesBatch(Protocol[E]):
    """Decorate a function, and no coroutine function, that takes a list of events."""

    @overload
    def __call__(self, function: Callable[[list[E]], P], /) -> Callable[[list[E]], P]: ...
    @overload
    def __call__(
        self, function: Callable[[list[E], list[MessageContext]], P], /
    ) -> Callable[[list[E], list[MessageContext]], P]: ...


class Options(TypedDict, total=False):
    """The parameters of `@handler` beside the events and `batch`."""

    name: str | None  # else `<app_label>.<function>`; stored, so it must not change without `aliases`
    aliases: tuple[str, ...]  # former names, the oldest first
    retry: RetryPolicy | None  # else the bus's RETRY
    ordered: bool  # True: later messages of a key wait while one is retried
    on_dead_letter: AfterDeadLetter  # whether later messages of a key go on, or wait for an operator's verdict
    atomic: bool  # False: runs outside of a transaction, at least once
    using: str | None  # database alias; else the bus's DATABASE
    timeout: float | timedelta | None  # a run that takes longer has failed and is rolled back
    handle_in: Place | None  # "celery": runs as a Celery task, without order; a lost one is sent again after `timeout`
    idempotent: bool  # True: writes no inbox row, and may run again for the same event
    dedupe_key: DedupeKey | None  # event -> value: events of equal value are one
    versions: Iterable[int | str] | None  # take these versions only


class HandlerRegistry:
    """Know every handler by its names. Filled while modules are imported, then read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects _by_name while it is checked and extended
        self._by_name: dict[str, Handler] = {}  # names and aliases
        self._takers: dict[EventContract, tuple[Target, ...]] = {}

    def register(self, new: Handler) -> None:
        """Add a handler; a function that was imported again replaces itself. Raise ContractError for a name in use."""
        with self._lock:
            others = {n: h for n, h in self._by_name.items() if not _replaces(new, h)}
            for name in new.names:
                if (holder := others.get(name)) is not None:
                    raise ContractError(
                        f"{_where(new)}: the name {name!r} belongs to {_where(holder)}. Give one of them a name=."
                    )
            self._by_name = others
            self._by_name.update(dict.fromkeys(new.names, new))
            self._takers = {}

    def all(self) -> tuple[Handler, ...]:
        """Return every handler, in order of declaration."""
        return tuple(dict.fromkeys(self._by_name.values()))

    def find(self, name: str) -> Handler | None:
        """Return the handler of this name or former name."""
        return self._by_name.get(name)

    def takers(self, contract: EventContract) -> tuple[Target, ...]:
        """Return the handlers of an event in order of declaration, each with the class in which it takes the event."""
        known = self._takers
        found = known.get(contract)
        if found is None:
            taken = ((handler, handler.event_class(contract.name, contract.version)) for handler in self.all())
            found = known[contract] = tuple(Target(handler, cls) for handler, cls in taken if cls is not None)
        return found

    @contextmanager
    def isolated(self) -> Iterator[HandlerRegistry]:
        """Forget, at the end of the block, what was registered inside it. For tests; not for several threads."""
        saved = dict(self._by_name)
        try:
            yield self
        finally:
            with self._lock:
                self._by_name = saved
                self._takers = {}


handlers = HandlerRegistry()


def groups_of(config: BusConfig) -> Mapping[str, HandlerGroup]:
    """Return the consumer groups of a bus by name, made of every handler that is declared now."""
    return form_groups(handlers.all(), config)


@overload
def handler(a: type[A], /, *, batch: None = None, **options: Unpack[Options]) -> Handles[A]: ...
@overload
def handler(a: type[A], b: type[B], /, *, batch: None = None, **options: Unpack[Options]) -> Handles[A | B]: ...
@overload
def handler(
    a: type[A], b: type[B], c: type[C], /, *, batch: None = None, **options: Unpack[Options]
) -> Handles[A | B | C]: ...
@overload
def handler(a: type[A], /, *, batch: int, **options: Unpack[Options]) -> HandlesBatch[A]: ...
@overload
def handler(a: type[A], b: type[B], /, *, batch: int, **options: Unpack[Options]) -> HandlesBatch[A | B]: ...
@overload
def handler(
    *events: type[Event], batch: None = None, **options: Unpack[Options]
) -> Callable[[Callable[..., R]], Callable[..., R]]: ...
@overload
def handler(
    *events: type[Event], batch: int, **options: Unpack[Options]
) -> Callable[[Callable[..., P]], Callable[..., P]]: ...
def handler(*events: type[Any], batch: int | None = None, **options: Unpack[Options]) -> Any:
    """Declare a function that handles events, as `(event)` or `(event, context)`; it stays a plain callable.

    With `batch=` it takes lists. What it returns (an event, several, or None) is published in its transaction. Raises
    ContractError for what can be seen at once; `manage.py check` finds the rest.
    """
    if len(events) == 1 and isinstance(events[0], FunctionType):
        raise ContractError(f"@handler on {events[0].__qualname__} names no event. Write @handler(OrderPlaced).")

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        handlers.register(declare(function, events, batch, options))
        return function

    return decorate


def declare(
    function: Callable[..., Any],
    events: tuple[type[Any], ...],
    batch: int | None,
    options: Options,
    *,
    state: StateRow | None = None,
) -> Handler:
    """Make the handler of a function; raise ContractError for what can be seen to be wrong at once."""
    shown = getattr(function, "__qualname__", repr(function))
    require_events(shown, events)
    _require_options(shown, batch, options)
    for option, value in (("batch", batch), ("handle_in", options.get("handle_in"))):
        if value is not None:
            _require_queued(shown, events, option=option)
    call = read_function(function, given=("event",) if state is None else ("event", "state"))
    _require_function(shown, batch, is_async=call.is_async)
    app = app_label_of(function)
    name = options.get("name") or default_name(function, app)
    versions, place = options.get("versions"), options.get("handle_in")
    return Handler(
        name=legal_name(name, of=shown),
        function=function,
        events=events,
        app_label=app,
        aliases=tuple(legal_name(alias, of=shown) for alias in options.get("aliases", ())),
        retry=options.get("retry"),
        ordered=options.get("ordered", place is None),
        on_dead_letter=options.get("on_dead_letter", "continue"),
        is_atomic=options.get("atomic", True),
        using=options.get("using"),
        batch=batch,
        timeout=_as_timedelta(options.get("timeout")) or (None if place is None else SENT_AGAIN_AFTER),
        is_idempotent=options.get("idempotent", False),
        dedupe_key=options.get("dedupe_key"),
        versions=None if versions is None else frozenset(map(str, versions)),
        takes_context=call.takes_context,
        is_async=call.is_async,
        handle_in=place,
        state=state,
    )


def require_events(shown: str, events: tuple[Any, ...], *, decorator: str = "handler") -> None:
    """Raise ContractError where a handler names no event, or what is none."""
    if not events:
        raise ContractError(f"@{decorator}() on {shown} names no event. Write @{decorator}(OrderPlaced).")
    for cls in events:
        if not isinstance(cls, type):
            raise ContractError(
                f"@{decorator} on {getattr(cls, '__qualname__', cls)!s}: write @{decorator}(OrderPlaced)."
            )
        try:
            known_events.contract_of(cls)
        except NotAnEvent as exc:
            raise ContractError(f"@{decorator}({cls.__qualname__}) on {shown}: {exc}") from exc


def _require_options(shown: str, batch: int | None, options: Options) -> None:
    for unknown in options.keys() - Options.__annotations__.keys():
        likely = get_close_matches(unknown, Options.__annotations__, n=1)
        hint = f" Did you mean {likely[0]!r}?" if likely else ""
        raise ContractError(f"{shown}: {unknown!r} is no parameter of @handler.{hint}")
    for field in ("aliases", "versions"):
        if isinstance(options.get(field), str):
            raise ContractError(f"{shown}: {field}={options.get(field)!r} is one text; give a tuple of them.")
    after, timeout = options.get("on_dead_letter", "continue"), _as_timedelta(options.get("timeout"))
    if after not in {"continue", "hold_key"}:
        raise ContractError(f"{shown}: on_dead_letter={after!r}; give 'continue' or 'hold_key'.")
    if options.get("handle_in") is not None:
        _require_place(shown, batch, options)
    if after == "hold_key" and not options.get("ordered", options.get("handle_in") is None):
        raise ContractError(f"{shown}: on_dead_letter='hold_key' holds an order that ordered=False gives up.")
    if options.get("idempotent") and options.get("dedupe_key") is not None:
        raise ContractError(f"{shown}: idempotent=True writes no inbox row, so dedupe_key= can find nothing in it.")
    if batch is not None and (isinstance(batch, bool) or batch < 1):
        raise ContractError(f"{shown}: batch={batch!r}; give the most events of one run, such as batch=500.")
    if timeout is not None and timeout <= timedelta():
        raise ContractError(f"{shown}: timeout={options.get('timeout')!r}; give seconds above 0, or None.")


def _require_function(shown: str, batch: int | None, *, is_async: bool) -> None:
    if batch is not None and is_async:
        raise ContractError(
            f"{shown}: a coroutine function is handed one event at a time, so that many wait side by side; batch= and "
            f"async def exclude each other. Make it a plain function, or leave batch= out."
        )


def _require_queued(shown: str, events: tuple[type[Any], ...], *, option: str) -> None:
    for cls in events:
        dispatch = known_events.contract_of(cls).dispatch
        if dispatch in {Dispatch.INLINE, Dispatch.ON_COMMIT}:
            raise ContractError(
                f"{shown}: {cls.__qualname__} is dispatched {dispatch}, one by one and right here, which excludes "
                f"{option}=. Declare it with dispatch='queued', or leave {option} out."
            )


def _require_place(shown: str, batch: int | None, options: Options) -> None:
    place = options.get("handle_in")
    if place not in get_args(Place):
        raise ContractError(f"{shown}: handle_in={place!r}; give 'celery', or leave it out.")
    if batch is not None:
        raise ContractError(
            f"{shown}: a task is about one event, so batch= and handle_in={place!r} exclude each other."
        )
    if options.get("ordered"):
        raise ContractError(f"{shown}: handle_in={place!r} gives up the order of events. Leave ordered= out.")


def _as_timedelta(seconds: float | timedelta | None) -> timedelta | None:
    return seconds if seconds is None or isinstance(seconds, timedelta) else timedelta(seconds=seconds)


def _replaces(new: Handler, old: Handler) -> bool:
    """Say whether a handler is another one, declared again.

    A module that is imported again has code objects of its own. Functions that one function made share theirs: these
    are different handlers.
    """
    if new.function is old.function:
        return not set(old.names).isdisjoint(new.names)
    code, old_code = _code_of(new), _code_of(old)
    if code is None or old_code is None:
        return bool(new.function == old.function)
    return code is not old_code and _place(code) == _place(old_code)


def _code_of(declared: Handler) -> CodeType | None:
    return getattr(inspect.unwrap(declared.function), "__code__", None)


def _place(code: CodeType) -> tuple[str, int, str]:
    return code.co_filename, code.co_firstlineno, code.co_qualname


def _where(declared: Handler) -> str:
    return f"{declared.function.__module__}.{getattr(declared.function, '__qualname__', declared.name)}"
