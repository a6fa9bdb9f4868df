"""When does a worker stop asking for messages, and in which way?"""

from __future__ import annotations

import time
from collections.abc import Collection

from django_eventbus.transports.base import Consumer, TopicPartition

SOFT_LIMIT = 2.0  # seconds without polling before partitions are paused


class BackPressure:
    """Hold back first by not polling, later by a pause, which throws away what was fetched ahead.

    Belongs to the thread that owns the consumer.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit  # messages in flight
        self._full_since: float | None = None
        self.is_paused = False

    def is_full(self, in_flight: int) -> bool:
        """Say whether nothing more may be taken; once paused, only half of the limit ends that."""
        return in_flight > self._limit // 2 if self.is_paused else in_flight >= self._limit

    def hold_back(self, consumer: Consumer) -> None:
        """Note that there is no room, and pause what is assigned once that has lasted."""
        now = time.monotonic()
        if self._full_since is None:
            self._full_since = now
        if not self.is_paused and now - self._full_since >= SOFT_LIMIT:
            consumer.pause(consumer.assignment())
            self.is_paused = True

    def let_go(self, consumer: Consumer, partitions: Collection[TopicPartition]) -> None:
        """Note that there is room again."""
        self._full_since = None
        if self.is_paused:
            self.is_paused = False
            consumer.resume(partitions)
