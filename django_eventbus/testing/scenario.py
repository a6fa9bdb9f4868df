"""What does a saga do, told as a story: given these events, when that one comes, what follows?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from django_eventbus.bus import buses
from django_eventbus.events.registry import events
from django_eventbus.models.saga import SagaStatus
from django_eventbus.sagas.decision import Decision, Outcome
from django_eventbus.sagas.declaration import sagas
from django_eventbus.sagas.instance import Instance, Timeout
from django_eventbus.sagas.saga import Saga

from .worlds import InDatabase, InMemory

S = TypeVar("S")

_NOTHING = (Outcome.UNKNOWN_INSTANCE, Outcome.DUPLICATE_START, Outcome.IGNORED_LATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Be one message of the story, and what followed from it."""

    at: datetime
    after: timedelta  # since the story began
    key: str
    message: object  # an event, or a Timeout
    decision: Decision

    def __str__(self) -> str:
        shown = f"timeout {self.message.name!r}" if isinstance(self.message, Timeout) else repr(self.message)
        told = [f"{self.after} {shown} -> {self.decision.outcome.value}"]
        told += [f"    published {outgoing.event!r}" for outgoing in self.decision.published]
        told += [f"    timeout {name!r} in {due - self.at}" for name, due in self.decision.timeouts_set.items()]
        return "\n".join(told)


class SagaScenario(Generic[S]):
    """Tell a story of one saga by its own rules: correlation, transitions and a clock that only `advance` moves.

    Needs no database. Events and states are written and read between the steps as in production. With
    `in_database=True` each step is taken in the tables: instance, history, timeouts, and what it publishes.
    """

    def __init__(
        self, saga: type[Saga[S]], /, *, in_database: bool = False, bus: str = "default", now: datetime | None = None
    ) -> None:
        self.declaration = sagas.of(saga)
        self.now = self._beginning = now or datetime.now(UTC)
        self.story: list[Happening] = []
        self._world = InDatabase(self.declaration, buses[bus].config) if in_database else InMemory(self.declaration)
        self._keys: dict[str, None] = {}  # of the instances that had a part in the story
        self._chapter = 0  # where in the story the last `when` or `advance` begins

    def given(self, *happened: object) -> SagaScenario[S]:
        """Let events happen that lead to where the story begins; fail where one does nothing."""
        for event in happened:
            self._begin()
            self._take(event)
            if self._last.decision.outcome in _NOTHING:
                raise AssertionError(f"given({event!r}) did nothing.\n{self}")
        self._begin()
        return self

    def when(self, *happening: object) -> SagaScenario[S]:
        """Let events come, one after the other."""
        self._begin()
        for event in happening:
            self._take(event)
        return self

    def advance(self, delta: timedelta) -> SagaScenario[S]:
        """Let time pass; each timeout that falls due within it comes at its time."""
        self._begin()
        end = self.now + delta
        while (due := min(self._armed(), default=None)) is not None and due[0] <= end:
            self.now, key, name, event_id = due
            self._decide(Timeout(name=name, event_id=event_id), key=key)
        self.now = end
        return self

    def expect_published(self, *expected: Any) -> SagaScenario[S]:
        """Fail unless exactly these events, or events of these classes, were published since the last step began."""
        found = self.published
        fits = [
            type(got) is want if isinstance(want, type) else got == want
            for got, want in zip(found, expected, strict=False)
        ]
        if len(found) != len(expected) or not all(fits):
            raise AssertionError(f"Published was {_listed(found)}, not {_listed(expected)}.\n{self}")
        return self

    def expect_state(self, expected: S | None = None, /, **fields: Any) -> SagaScenario[S]:
        """Fail unless the state is equal to this one, and has these values in these fields."""
        state = self.state
        if expected is not None and state != expected:
            raise AssertionError(f"The state is {state!r}, not {expected!r}.\n{self}")
        for name, value in fields.items():
            if getattr(state, name) != value:
                raise AssertionError(f"The state has {name}={getattr(state, name)!r}, not {value!r}.\n{self}")
        return self

    def expect_status(self, expected: SagaStatus | str) -> SagaScenario[S]:
        """Fail unless the instance is running, compensating, completed or compensated, as said."""
        if self._instance.status != expected:
            raise AssertionError(
                f"The saga is {self._instance.status.value}, not {SagaStatus(expected).value}.\n{self}"
            )
        return self

    def expect_outcome(self, expected: Outcome | str) -> SagaScenario[S]:
        """Fail unless the last message did this to the instance, such as `ignored_late`."""
        if self.outcome is not Outcome(expected):
            raise AssertionError(f"The last message was {self.outcome.value}, not {Outcome(expected).value}.\n{self}")
        return self

    def expect_timeouts(self, **expected: timedelta) -> SagaScenario[S]:
        """Fail unless exactly these timeouts wait, each due after that time from now."""
        waiting = {name: armed.due_at - self.now for name, armed in self._instance.timeouts.items()}
        if waiting != expected:
            raise AssertionError(f"Waiting are {_times(waiting)}, not {_times(expected)}.\n{self}")
        return self

    @property
    def published(self) -> list[Any]:
        """Return the events that were published since the last `when` or `advance` began."""
        return [outgoing.event for each in self.story[self._chapter :] for outgoing in each.decision.published]

    @property
    def state(self) -> S:
        """Return the state of the instance that the last message was for."""
        state: S = self._instance.state
        return state

    @property
    def outcome(self) -> Outcome:
        """Say what the last message did."""
        return self._last.decision.outcome

    def __str__(self) -> str:
        return "\n".join([f"The story of {self.declaration.name}:", *map(str, self.story)])

    def _begin(self) -> None:
        self._chapter = len(self.story)

    def _take(self, event: object) -> None:
        codec = events.contract_of(event).codec
        arrived = codec.decode(codec.encode(event))
        self._decide(arrived, key=self.declaration.key_of(arrived))

    def _decide(self, message: object, *, key: str) -> None:
        self._keys.setdefault(key)
        decision = self._world.take(message, key=key, now=self.now)
        after = self.now - self._beginning
        self.story.append(Happening(at=self.now, after=after, key=key, message=message, decision=decision))

    def _armed(self) -> Iterator[tuple[datetime, str, str, Any]]:
        for key in self._keys:
            instance = self._world.load(key)
            for name, armed in instance.timeouts.items() if instance is not None else ():
                yield armed.due_at, key, name, armed.event_id

    @property
    def _last(self) -> Happening:
        if not self.story:
            raise AssertionError("Nothing has happened yet. Begin with when(OrderPlaced(...)).")
        return self.story[-1]

    @property
    def _instance(self) -> Instance:
        instance = self._world.load(self._last.key)
        if instance is None:
            raise AssertionError(f"There is no instance {self._last.key!r}.\n{self}")
        return instance


def _listed(expected: Any) -> str:
    return "[" + ", ".join(each.__qualname__ if isinstance(each, type) else repr(each) for each in expected) + "]"


def _times(timeouts: dict[str, timedelta]) -> str:
    return ", ".join(f"{name} in {delay}" for name, delay in timeouts.items()) or "none"
