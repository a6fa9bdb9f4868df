"""Is a group caught up with the ends that its partitions had when a worker started?"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from django_eventbus.exceptions import TransportUnavailable
from django_eventbus.transports.base import Consumer, TopicPartition

from .ownership import Claim

ASK_EVERY = 0.5
SETTLED_AFTER = 5.0  # seconds; a member without partitions is not always told that it has none


class Target:
    """Compare ends found at the start with what this worker, and other members of the group, have done."""

    def __init__(self, consumer: Consumer, topics: Collection[str]) -> None:
        self._consumer = consumer
        self._topics = topics
        self._left: dict[TopicPartition, int] | None = None  # partition -> end that is not yet reached
        self._next = 0.0
        self._settled_at = time.monotonic() + SETTLED_AFTER
        self.was_reached = False

    def is_reached(self, claims: Mapping[TopicPartition, Claim]) -> bool:
        """Say whether everything is done that was there at the start; asks the broker twice a second at most.

        Never before this member has its share: one that leaves while it joins is kept by the broker until its session
        ends, which holds up the next one for that long; and retries that are due run on partitions that it has.
        """
        if not claims and time.monotonic() < self._settled_at:
            return False
        if self._left is None and not self._find_ends():
            return False
        left = self._left or {}
        for place, end in list(left.items()):
            claim = claims.get(place)
            mark = None if claim is None else claim.positions.low_water
            if end == 0 or (mark is not None and mark >= end):
                del left[place]
        if any(place not in claims for place in left):
            self._ask_for_others(left, claims)
        self.was_reached = not left
        return self.was_reached

    def _find_ends(self) -> bool:
        try:
            self._left = self._consumer.end_offsets(self._consumer.partitions_of(self._topics))
        except TransportUnavailable:
            return False
        return True

    def _ask_for_others(self, left: dict[TopicPartition, int], claims: Mapping[TopicPartition, Claim]) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + ASK_EVERY
        others = [place for place in left if place not in claims]
        try:
            committed = self._consumer.committed(others)
        except TransportUnavailable:
            return
        for place in others:
            offset = committed[place]
            if offset is not None and offset >= left[place]:
                del left[place]
