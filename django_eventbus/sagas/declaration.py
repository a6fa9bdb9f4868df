"""What has a saga declared, and which sagas are there?"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from django_eventbus.delivery.handler import AfterDeadLetter
from django_eventbus.delivery.retry import RetryPolicy
from django_eventbus.exceptions import ContractError, NotAnEvent

from .correlation import Correlation
from .state import StateType
from .transitions import Transitions

if TYPE_CHECKING:
    from .saga import Saga

Concurrency = Literal["lock", "optimistic"]
WhenUnknown = Literal["retry", "ignore", "dead_letter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Say what a saga does with one class of events; the methods are named, so that subclasses may override them."""

    event: type[Any]
    correlation: Correlation
    starts: str | None = None  # method that makes an instance; None: this event starts none
    continues: str | None = None  # method for an instance that exists; None: a start that comes twice is ignored
    unmatched: str | None = None  # @not_found method: no instance, or one that has ended
    when_unknown: WhenUnknown = "retry"  # what becomes of an event without instance and without such a method


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True, eq=False)
class SagaDeclaration:
    """Hold what one saga class declared; one per class, compared by identity."""

    name: str  # stored with every instance; also the name of its handler
    cls: type[Saga[Any]]
    app_label: str | None
    state: StateType  # how the state is kept; `state.version` is the saga's
    routes: Mapping[type[Any], Route]  # by class of event
    timeouts: Mapping[str, str]  # name -> method
    concurrency: Concurrency = "lock"
    when_unknown: WhenUnknown = "retry"  # what `not_found=` of the class says; each route has its own
    transitions: Transitions | None = None
    retention: timedelta | None = None  # of ended instances; None: SAGA['RETENTION']
    retry: RetryPolicy | None = None  # None: the bus's RETRY
    on_dead_letter: AfterDeadLetter = "continue"
    using: str | None = None  # database alias; None: the bus's DATABASE

    @property
    def events(self) -> tuple[type[Any], ...]:
        """Return the classes that the saga takes, in order of declaration."""
        return tuple(self.routes)

    def route(self, event: object) -> Route:
        """Return what is declared for an event; raise NotAnEvent for one that the saga does not take."""
        try:
            return self.routes[type(event)]
        except KeyError:
            raise NotAnEvent(f"Saga {self.name} takes no {type(event).__qualname__}.") from None

    def key_of(self, event: object) -> str:
        """Return the key of the instance that an event is for; raise Reject for an event that names none."""
        return self.route(event).correlation.key_of(event)


class SagaRegistry:
    """Know every saga by its name and by its class. Filled while modules are imported, then read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects _by_name while it is checked and extended
        self._by_name: dict[str, SagaDeclaration] = {}

    def register(self, new: SagaDeclaration) -> None:
        """Add a saga; a class that was imported again replaces itself. Raise ContractError for a name in use."""
        with self._lock:
            holder = self._by_name.get(new.name)
            if holder is not None and place_of(holder) != place_of(new):
                raise ContractError(
                    f"{'.'.join(place_of(new))}: the name {new.name!r} belongs to {'.'.join(place_of(holder))}. Give "
                    "one of them a name=."
                )
            self._by_name[new.name] = new

    def all(self) -> tuple[SagaDeclaration, ...]:
        """Return every saga, in order of declaration."""
        return tuple(self._by_name.values())

    def find(self, name: str) -> SagaDeclaration | None:
        """Return the saga of this name."""
        return self._by_name.get(name)

    def of(self, cls: type[Any]) -> SagaDeclaration:
        """Return what a class declared; raise ContractError for one that is no saga."""
        found = next((each for each in self._by_name.values() if each.cls is cls), None)
        if found is None:
            raise ContractError(f"{cls.__qualname__} is no saga. Write class {cls.__name__}(Saga[State]).")
        return found

    @contextmanager
    def isolated(self) -> Iterator[SagaRegistry]:
        """Forget, at the end of the block, what was registered inside it. For tests; not for several threads."""
        saved = dict(self._by_name)
        try:
            yield self
        finally:
            with self._lock:
                self._by_name = saved


sagas = SagaRegistry()


def place_of(declared: SagaDeclaration) -> tuple[str, str]:
    """Return where a saga is written."""
    return declared.cls.__module__, declared.cls.__qualname__
