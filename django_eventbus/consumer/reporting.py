"""Who hears what became of a run, once its transaction is committed?"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django_eventbus import signals
from django_eventbus.delivery.deliveries import Outcome, Skipped
from django_eventbus.events.envelope import Envelope

from .run import Run, Settled


class Reporter:
    """Count what became of runs, and tell the receivers of signals and who waits for retries.

    `_lock` protects `_counts`.
    """

    def __init__(self, on_retry: Callable[[datetime | None], None] = lambda at: None) -> None:
        self.expect = on_retry  # told when a waiting delivery is due; None: now
        self._lock = threading.Lock()
        self._counts: Counter[Outcome] = Counter()

    def count(self, outcome: Outcome) -> int:
        """Return how many runs ended so."""
        return self._counts[outcome]

    def skip(self, records: Sequence[Skipped], *, group: str) -> None:
        """Add up records that concern no handler, and send the signal of those that have an envelope."""
        with self._lock:
            self._counts[Outcome.IGNORED] += len(records)
        if not signals.message_handled.receivers:
            return
        for record in records:
            if record.envelope is not None:
                _ignored(record.envelope, group)

    def tell(self, counts: Counter[Outcome], settled: list[Settled]) -> None:
        """Add up one committed unit, and send its signals; dead letters are told by `bury`."""
        with self._lock:
            self._counts.update(counts)
        for one in settled:
            match one.outcome:
                case Outcome.HANDLED | Outcome.DUPLICATE | Outcome.IGNORED:
                    _handled(one)
                case Outcome.RETRY:
                    self.expect(one.retry_at)
                    _retried(one)
                case Outcome.DEAD_LETTERED:
                    pass


class Notes:
    """Gather what became of the runs of one unit, and tell it once the unit is committed."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._wants_all = bool(signals.message_handled.receivers)  # else a success is counted, and no object made
        self._counts: Counter[Outcome] = Counter()
        self._settled: list[Settled] = []

    def add(
        self, run: Run, outcome: Outcome, *, error: BaseException | None = None, retry_at: datetime | None = None
    ) -> None:
        """Note how a run ended."""
        self._counts[outcome] += 1
        if error is not None or self._wants_all:
            self._settled.append(Settled(run=run, outcome=outcome, error=error, retry_at=retry_at))

    def tell(self) -> None:
        """Tell everybody; after the commit."""
        self._reporter.tell(self._counts, self._settled)


def _handled(one: Settled) -> None:
    delivery = one.run.delivery
    signals.emit(
        signals.message_handled,
        _event_class(one),
        envelopes=[delivery.envelope],
        handler=delivery.handler.name,
        group=delivery.group,
        attempt=delivery.attempt,
        outcome=one.outcome.value,
        duration=timedelta(seconds=one.run.duration),
    )


def _ignored(envelope: Envelope, group: str) -> None:
    signals.emit(
        signals.message_handled,
        envelopes=[envelope],
        handler="",
        group=group,
        attempt=1,
        outcome=Outcome.IGNORED.value,
        duration=timedelta(),
    )


def _retried(one: Settled) -> None:
    delivery = one.run.delivery
    signals.emit(
        signals.message_retried,
        _event_class(one),
        envelope=delivery.envelope,
        handler=delivery.handler.name,
        group=delivery.group,
        attempt=delivery.attempt,
        error=one.error,
        retry_at=one.retry_at,
    )


def _event_class(one: Settled) -> type | None:
    event = one.run.delivery.event
    return None if event is None else type(event)
