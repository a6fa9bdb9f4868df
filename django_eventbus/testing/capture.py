"""Which events did a piece of code publish, and were they the right ones?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar, overload

from django_eventbus.events.envelope import Envelope
from django_eventbus.outbox.fate import Fate
from django_eventbus.signals import event_published

from .matching import refuse, require
from .published import PublishedEvent, waiting_in_outbox

E = TypeVar("E")


class CapturedEvents(Sequence[PublishedEvent]):
    """Hold, in order, what was published while a `captured_events()` block was open.

    What was rolled back since, with its transaction or savepoint, is left out: it will never be sent.
    """

    def __init__(self) -> None:
        self._taken: list[PublishedEvent] = []

    @property
    def taken(self) -> list[PublishedEvent]:
        """Return everything that `publish()` took, what was rolled back included."""
        return list(self._taken)

    @property
    def events(self) -> list[Any]:
        """Return the events alone."""
        return [published.event for published in self]

    def of(self, event_class: type[E]) -> list[E]:
        """Return the events of one class."""
        return [published.event for published in self if type(published.event) is event_class]

    def assert_published(self, event_class: type[E], /, *, count: int | None = None, **expected: Any) -> list[E]:
        """Return the events of a class whose fields are as expected; fail unless there is one, or exactly `count`."""
        return require(event_class, expected, self._taken, count=count)

    def assert_not_published(self, event_class: type[Any] | None = None, /, **expected: Any) -> None:
        """Fail if there is such an event; without a class, if there is any event at all."""
        refuse(event_class, expected, self._taken)

    @overload
    def __getitem__(self, index: int) -> PublishedEvent: ...
    @overload
    def __getitem__(self, index: slice) -> list[PublishedEvent]: ...
    def __getitem__(self, index: int | slice) -> PublishedEvent | list[PublishedEvent]:
        return self._standing()[index]

    def __len__(self) -> int:
        return len(self._standing())

    def __repr__(self) -> str:
        return f"CapturedEvents({self._standing()!r})"

    def _standing(self) -> list[PublishedEvent]:
        return [published for published in self._taken if not published.is_rolled_back]

    def _take(
        self, *, event: object, envelope: Envelope, bus: str, using: str, due_at: datetime | None = None, **_: Any
    ) -> None:
        fate = Fate(using)
        self._taken.append(
            PublishedEvent(event=event, envelope=envelope, bus=bus, using=using, due_at=due_at, fate=fate)
        )


_open_blocks: list[CapturedEvents] = []  # the innermost last; of the whole process, since a test may start threads


@contextmanager
def captured_events() -> Iterator[CapturedEvents]:
    """Collect what is published while the block is open, in any thread, whether or not it is ever committed or sent."""
    captured = CapturedEvents()
    receive = captured._take
    event_published.connect(receive)
    _open_blocks.append(captured)
    try:
        yield captured
    finally:
        _open_blocks.remove(captured)
        event_published.disconnect(receive)


def assert_published(event_class: type[E], /, *, count: int | None = None, **expected: Any) -> list[E]:
    """Return the published events of a class whose fields are as expected; fail unless there is one, or `count`.

    Looks at the innermost open `captured_events()` block; outside of any, at what waits in the outbox.
    """
    return require(event_class, expected, _in_reach(), count=count)


def assert_not_published(event_class: type[Any] | None = None, /, **expected: Any) -> None:
    """Fail if such an event was published; without a class, if any was. Looks where `assert_published` does."""
    refuse(event_class, expected, _in_reach())


def _in_reach() -> list[PublishedEvent]:
    return _open_blocks[-1].taken if _open_blocks else waiting_in_outbox()
