"""Known bugs, planted from here for one sweep: a sweep that does not find them proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django_eventbus.transports.base import TopicPartition


def offset_before_commit() -> None:
    """Store an offset when its record comes, and believe the broker about where to begin."""
    from django_eventbus.models.partition import PartitionQuerySet
    from tests.proof.sweep.transport import JournalConsumer

    poll, raise_epoch = JournalConsumer.poll, PartitionQuerySet.raise_epoch

    def polling(self: Any, **options: Any) -> Any:
        records = poll(self, **options)
        self.store({TopicPartition(record.topic, record.partition): record.offset + 1 for record in records})
        return records

    def raising(self: Any, *arguments: Any, **options: Any) -> Any:
        return replace(raise_epoch(self, *arguments, **options), low_water=None)

    JournalConsumer.poll = polling  # type: ignore[method-assign]
    PartitionQuerySet.raise_epoch = raising  # type: ignore[method-assign]


def no_inbox() -> None:
    """Handle every delivery, also one that was handled before."""
    from django_eventbus.consumer.arrivals import Arrivals

    Arrivals._is_duplicate = lambda self, run: False  # type: ignore[method-assign]


def delete_before_send() -> None:
    """Delete rows when they are read, not when the broker has acknowledged them."""
    from django_eventbus.outbox.step import Step

    send_waiting = Step._send_waiting

    def sending(self: Any, rows: Any, aside: Any) -> None:
        with self._session.settling():
            self._session.remove_sent([row[0] for row in rows])
        if hasattr(self._session, "_work"):
            self._session.execute("COMMIT")
            self._session.begin()
        send_waiting(self, rows, aside)

    Step._send_waiting = sending  # type: ignore[method-assign]


def retry_in_its_own_transaction() -> None:
    """Write down what waits only after the unit has committed."""
    from django_eventbus.consumer.arrivals import Arrivals

    close, report = Arrivals.close, Arrivals.report

    def reporting(self: Any) -> None:
        close(self)
        report(self)

    Arrivals.close = lambda self: None  # type: ignore[method-assign]
    Arrivals.report = reporting  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug for bug in (offset_before_commit, no_inbox, delete_before_send, retry_in_its_own_transaction)
}
