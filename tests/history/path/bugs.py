"""Known bugs, planted where ``HISTORY_BUG`` names one: a check that does not find them proves nothing.

They are substituted from here, so that the code under test has no switch for being wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any


def offset_before_commit() -> None:
    """Store an offset when its record comes, and believe the broker about where to begin."""
    from django_eventbus.models.partition import PartitionQuerySet
    from django_eventbus.transports.kafka.consumer import KafkaConsumer

    poll, raise_epoch = KafkaConsumer.poll, PartitionQuerySet.raise_epoch

    def polling(self: Any, **options: Any) -> Any:
        records = poll(self, **options)
        self.store({place: record.offset + 1 for record in records if (place := _place(record)) in self.assignment()})
        return records

    def raising(self: Any, *arguments: Any, **options: Any) -> Any:
        return replace(raise_epoch(self, *arguments, **options), low_water=None)

    KafkaConsumer.poll = polling  # type: ignore[method-assign]
    PartitionQuerySet.raise_epoch = raising  # type: ignore[method-assign]


def no_fence() -> None:
    """Let a worker commit for partitions that are somebody else's by now."""
    from django_eventbus.consumer import arrivals, retries, turn
    from django_eventbus.models import unit

    unit.FENCE = (
        "SELECT %s::int[]; SELECT id, epoch, clock_timestamp() FROM eventbus_partition WHERE id = ANY(%s::int[])"
    )

    def opening(fences: Any, *, using: str, **options: Any) -> Any:
        return unit.open_unit(using, partitions=sorted(dict(fences)), **options)

    for module in (arrivals, retries, turn):
        module.open_fenced = opening  # type: ignore[attr-defined]


def floor_without_proof() -> None:
    """Read above the newest id that was seen, though a transaction may still bring an older one."""
    from django_eventbus.outbox.reader import WindowReader

    def looking(self: Any) -> None:
        self._safe = self._source.last_id()

    WindowReader._look = looking  # type: ignore[method-assign]


def floor_from_xmax() -> None:
    """Trust snapshots: an id is safe once every transaction has ended that had an xid when the id was the last."""
    from django_eventbus.outbox.reader import WindowReader

    def looking(self: Any) -> None:
        if self._candidate is None:
            last = self._source.last_id()
            self._candidate = (last, self._source.fetch("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")[0][0])
        last, end = self._candidate
        if int(self._source.fetch("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")[0][0]) >= int(end):
            self._safe, self._candidate = last, None

    WindowReader._look = looking  # type: ignore[method-assign]


def no_lock() -> None:
    """Let every relay work, whoever else does."""
    from django_eventbus.models import relay

    relay.LOCK = "SELECT true"


def inbox_after_handler() -> None:
    """Look into the inbox before the handlers, and write it when their transaction has committed."""
    from django_eventbus.consumer import arrivals
    from django_eventbus.models import InboxMessage, unit

    report = arrivals.Arrivals.report

    def opening(using: str, *, inbox: Any = (), **options: Any) -> Any:
        keys = {row.key for row in inbox}
        known = InboxMessage.objects.using(using).filter(key__in=keys).values_list("key", flat=True)
        return replace(unit.open_unit(using, **options), fresh=keys - set(known))

    def reporting(self: Any) -> None:
        unit.take_messages(self._using, arrivals.inbox_rows(self._runs))
        report(self)

    arrivals.open_unit = opening  # type: ignore[attr-defined]
    arrivals.Arrivals.report = reporting  # type: ignore[method-assign]


def no_inbox() -> None:
    """Handle every delivery, also one that was handled before."""
    from django_eventbus.consumer.arrivals import Arrivals

    Arrivals._is_duplicate = lambda self, run: False  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        offset_before_commit,
        no_fence,
        floor_without_proof,
        floor_from_xmax,
        no_lock,
        inbox_after_handler,
        no_inbox,
    )
}


def plant() -> None:
    if name := os.environ.get("HISTORY_BUG"):
        BUGS[name]()


def _place(record: Any) -> Any:
    from django_eventbus.transports.base import TopicPartition

    return TopicPartition(record.topic, record.partition)
