"""What happened while a test let its events through?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django_eventbus.delivery.deliveries import Outcome
from django_eventbus.events.envelope import Envelope
from django_eventbus.signals import message_dead_lettered, message_handled, message_retried


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRun:
    """Be one attempt that failed, or one message that reached no handler."""

    handler: str  # stored name; empty where no handler was reached
    attempt: int
    error: BaseException | str
    envelope: Envelope | None  # None where it could not be read
    is_dead: bool  # there is a dead letter; else another attempt follows

    def __str__(self) -> str:
        name = self.envelope.event_name if self.envelope else "an unreadable message"
        return f"{self.handler or 'no handler'}, attempt {self.attempt} on {name}: {self.error!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainReport:
    """Say what happened, and what is left."""

    sent: int  # events that left the outbox for the transport
    handled: int  # runs of handlers that succeeded
    duplicates: int  # deliveries that the inbox knew
    failures: tuple[FailedRun, ...]  # in the order in which they happened
    unsent: int  # events that the transport did not take: still in the outbox, or parked
    waiting: int  # deliveries that wait for another attempt, behind one, or for a verdict
    scheduled: int  # events that wait for their time

    @property
    def failed(self) -> int:
        """Count the attempts that another one follows."""
        return sum(not failure.is_dead for failure in self.failures)

    @property
    def dead(self) -> int:
        """Count the messages that became dead letters."""
        return sum(failure.is_dead for failure in self.failures)


class Tally:
    """Count what the signals tell while `listening` is open."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.failures: list[FailedRun] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        heard = {message_handled: self._handled, message_retried: self._retried, message_dead_lettered: self._died}
        for signal, receiver in heard.items():
            signal.connect(receiver)
        try:
            yield
        finally:
            for signal, receiver in heard.items():
                signal.disconnect(receiver)

    @property
    def handled(self) -> int:
        return self.outcomes[Outcome.HANDLED.value]

    @property
    def duplicates(self) -> int:
        return self.outcomes[Outcome.DUPLICATE.value]

    def raise_first(self) -> None:
        """Raise the first error again, with a note on where it comes from."""
        if not self.failures:
            return
        first = self.failures[0]
        error = first.error if isinstance(first.error, BaseException) else AssertionError(first.error)
        error.add_note(f"Raised while draining: {first}. {len(self.failures)} runs failed in all.")
        raise error

    def _handled(self, *, envelopes: Sequence[Envelope], outcome: str, **_: Any) -> None:
        self.outcomes[outcome] += len(envelopes)

    def _retried(self, **told: Any) -> None:
        self._note(is_dead=False, **told)

    def _died(self, **told: Any) -> None:
        self._note(is_dead=True, **told)

    def _note(
        self,
        *,
        is_dead: bool,
        handler: str,
        attempt: int,
        error: BaseException | str,
        envelope: Envelope | None,
        **_: Any,
    ) -> None:
        failure = FailedRun(handler=handler, attempt=attempt, error=error, envelope=envelope, is_dead=is_dead)
        self.failures.append(failure)
