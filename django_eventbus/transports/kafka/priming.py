"""Which rows must go ahead while a new producer is not yet known to every partition?

A broker that has not seen a producer on a partition takes whatever sequence comes first: what is in flight behind a
refused first batch is written, though the client reports it as purged. With a first row of each key ahead in a flush of
its own, nothing is in flight behind it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from confluent_kafka.cimpl import murmur2

from django_eventbus.events.envelope import OutgoingRow

from .producer import RowProducer

_COUNT_IS_FRESH = 300.0  # seconds; partitions can be added to a topic
_LOOK = 2.0  # seconds to wait for the partition count


class Priming:
    """Remember, for one producer, the topics of which every partition has acknowledged something."""

    def __init__(self, producer: RowProducer) -> None:
        self._producer = producer
        self._acked = producer.acked_partitions
        self._counts: dict[str, int] = {}
        self._done: dict[str, float] = {}  # topic -> until when its partition count is believed

    def split(self, rows: Sequence[OutgoingRow]) -> tuple[Sequence[OutgoingRow], Sequence[OutgoingRow]]:
        """Return the rows that go ahead and the rest; a single row needs nobody ahead of it."""
        now, done = time.monotonic(), self._done
        strange = {topic for topic in {row[1] for row in rows} if done.get(topic, 0.0) < now}
        for topic in strange:
            self._acked.setdefault(topic, set())
            if self._done.pop(topic, None) is not None:
                del self._counts[topic]
        if not strange or len(rows) == 1:
            return (), rows
        ahead, rest, keys = [], [], set[tuple[str, bytes | None]]()
        for row in rows:
            key = (row[1], row[2])
            if row[1] in strange and key not in keys and not self._knows(*key):
                keys.add(key)
                ahead.append(row)
            else:
                rest.append(row)
        return ahead, rest

    def learn(self, *, until: float) -> None:
        """Look after a flush which topics are complete now."""
        for topic in list(self._acked):
            if topic not in self._counts:
                wait = min(max(until - time.monotonic(), 0.1), _LOOK)
                count = self._producer.count_partitions(topic, timeout=wait)
                if count is None:
                    continue
                self._counts[topic] = count
            if len(self._acked[topic]) >= self._counts[topic]:
                self._done[topic] = time.monotonic() + _COUNT_IS_FRESH
                del self._acked[topic]

    def _knows(self, topic: str, key: bytes | None) -> bool:
        count = self._counts.get(topic)
        return bool(key) and count is not None and murmur2(key or b"", count) in self._acked[topic]
