"""What is a handler, and what does its function ask for?"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from asgiref.sync import iscoroutinefunction

from django_eventbus.events.registry import events
from django_eventbus.events.upcasting import version_order
from django_eventbus.exceptions import ContractError

from .retry import RetryPolicy
from .state import StateRow

AfterDeadLetter = Literal["continue", "hold_key"]
Place = Literal["celery"]
DedupeKey = Callable[[Any], object]

SENT_AGAIN_AFTER = timedelta(minutes=5)  # the timeout of handlers that run elsewhere and name none

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Handler:
    """Be one declared handler; one per function, compared by identity."""

    name: str  # stored with inbox, retries and dead letters
    function: Callable[..., Any]
    events: tuple[type[Any], ...]
    app_label: str | None  # None: declared outside of any app
    aliases: tuple[str, ...] = ()  # former names, the oldest first
    retry: RetryPolicy | None = None  # None: the bus's RETRY
    ordered: bool = True  # later messages of a key wait while one is retried
    on_dead_letter: AfterDeadLetter = "continue"
    is_atomic: bool = True
    using: str | None = None  # None: the bus's DATABASE
    batch: int | None = None
    timeout: timedelta | None = None
    is_idempotent: bool = False  # writes no inbox row
    dedupe_key: DedupeKey | None = None
    versions: frozenset[str] | None = None  # None: every version that can become one of `events`
    takes_context: bool = False
    is_async: bool = False
    handle_in: Place | None = None  # None: in the consumer
    state: StateRow | None = None  # taken for each run, and given to the function behind the event
    saga_key: Callable[[Any], str] | None = None  # makes it a saga: event -> key of the instance that takes it

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names under which messages of this handler may be stored."""
        return (self.name, *self.aliases)

    @property
    def lane_name(self) -> str:
        """Return the oldest name: it names the lanes, so that a rename does not overtake what waits in them."""
        return self.aliases[0] if self.aliases else self.name

    def takes_version(self, event_name: str, version: str) -> bool:
        """Say whether `versions=` lets this version in."""
        return self.versions is None or events.resolve_version(event_name, version) in self.versions

    def event_class(self, event_name: str, version: str) -> type[Any] | None:
        """Return the class in which the handler takes a message: its own version, else the newest one it leads to."""
        if not self.takes_version(event_name, version):
            return None
        actual = events.resolve_version(event_name, version)
        fitting = [cls for cls in self.events if events.can_decode(event_name, version, into=cls)]
        own = next((cls for cls in fitting if events.contract_of(cls).version == actual), None)
        return own or max(fitting, key=lambda cls: version_order(events.contract_of(cls).version), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Say how a function wants to be called."""

    takes_context: bool
    is_async: bool


def read_function(function: Callable[..., Any], *, given: tuple[str, ...] = ("event",)) -> Call:
    """Find out how a handler is called; raise ContractError where it cannot be called with what it is given."""
    shown = getattr(function, "__qualname__", repr(function))
    target = inspect.unwrap(function)
    if inspect.isasyncgenfunction(target):
        raise ContractError(f"{shown} is an async generator. Collect the events and return them as a list.")
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    demanded = [p for p in positional if p.default is p.empty]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    named_only = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    most, told = len(given) + 1, ", ".join(given)
    if (len(positional) < len(given) and not takes_any) or len(demanded) > most or named_only:
        raise ContractError(f"{shown}{inspect.signature(function)} is not callable as ({told}) or ({told}, context).")
    call = type(function).__call__ if not inspect.isroutine(target) else function
    return Call(
        takes_context=len(demanded) == most, is_async=iscoroutinefunction(function) or iscoroutinefunction(call)
    )
