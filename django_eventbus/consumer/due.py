"""Which lanes of the retry table are due, and when does somebody have to look again?"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

from django_eventbus.models import RetryMessage

from .ownership import Claim, Ownership
from .turn import Waiting

LANES_AT_ONCE = 200
LOOK_AT_LEAST_EVERY = 1.0  # an operator's replay or verdict is seen by then


class DueLanes:
    """Look for due lanes when one is expected, at least once a second; hand each out once at a time.

    `expect` may be called from any thread; all else belongs to the thread that owns the consumer.
    """

    def __init__(self, ownership: Ownership) -> None:
        self._ownership = ownership
        self._lock = threading.Lock()  # protects `_next`
        self._next = 0.0
        self._out: dict[UUID, Claim] = {}  # lanes that are queued or running

    def expect(self, at: datetime | None) -> None:
        """Look by this time; None: now."""
        delay = 0.0 if at is None else max(0.0, (at - datetime.now(UTC)).total_seconds())
        with self._lock:
            self._next = min(self._next, time.monotonic() + delay)

    def back_off(self) -> None:
        """Look later: the database does not answer."""
        with self._lock:
            self._next = time.monotonic() + LOOK_AT_LEAST_EVERY

    def seconds_to_next(self) -> float:
        """Return how long nothing is expected."""
        with self._lock:
            return max(0.0, self._next - time.monotonic())

    @property
    def is_idle(self) -> bool:
        """Say whether every lane that was handed out is done."""
        return not self._out

    def finished(self, lane: UUID) -> None:
        """Let a lane be found again."""
        self._out.pop(lane, None)

    def drop(self, claim: Claim) -> None:
        """Forget what was handed out of a partition."""
        self._out = {lane: owner for lane, owner in self._out.items() if owner is not claim}

    def find(self) -> Iterator[Waiting]:
        """Yield due lanes of owned partitions that are not handed out."""
        if self.seconds_to_next() > 0 or len(self._out) >= LANES_AT_ONCE:
            return
        self.back_off()
        claims = list(self._ownership.claims.values())
        for alias in self._ownership.aliases if claims else ():
            owners = {claim.fences[alias].partition_id: claim for claim in claims}
            rows = RetryMessage.objects.using(alias)
            due = rows.due(list(owners), limit=LANES_AT_ONCE)
            busy = {owners[lane.partition_id] for lane in due}
            for claim in claims:
                claim.has_no_due = claim not in busy
            for lane in due:
                if lane.lane in self._out:
                    continue
                claim = owners[lane.partition_id]
                self._out[lane.lane] = claim
                key = lane.lane if lane.record_key is None else bytes(lane.record_key)
                yield Waiting(lane=lane.lane, row=lane.key, claim=claim, using=alias, handler=lane.handler, key=key)
            if (at := rows.next_due_at(list(owners))) is not None and at > datetime.now(UTC):
                self.expect(at)
