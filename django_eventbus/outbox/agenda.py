"""Which waiting messages have fallen due, and when does the relay have to look again?

Moved rows leave dead entries at the front of the index, which every read would walk over again until vacuum may remove
them. So a look begins where the last move ended. What commits late, or was locked, may lie before that: a look from the
beginning finds it, as often as such looks cost a fiftieth of the time.
"""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from django_eventbus.models.relay_scheduled import BEGINNING, Moved

LOOK_INTERVAL = 0.02  # seconds between looks while there is much to send
FULL_LOOKS = 0.02  # share of the time that looks from the beginning may take
LONGEST_WITHOUT = 5.0  # seconds without one
LOCKED_PAUSE = 0.05  # seconds until the next look where all that is due is locked by somebody's transaction
FIRST_MOVE = 500  # messages
MOST = 5000  # up to which it is doubled, while a move takes
FAST = 0.2  # seconds or less, and from which it is halved where one takes more than
SLOW = 1.0  # seconds: it must end well before GRACE, however large the messages are


class Schedule(Protocol):
    """Be what waits for its time; see models/relay_scheduled.py."""

    def next_due(self, *, since: datetime) -> float | None: ...
    def move(self, *, since: datetime, limit: int) -> Moved: ...


class Session(Protocol):
    """Be one relay's way to its tables."""

    @property
    def scheduled(self) -> Schedule: ...
    def settling(self) -> AbstractContextManager[None]: ...


class Agenda:
    """Move what is due from one share's schedule into its outbox; used under the locks of that share."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._limit = FIRST_MOVE
        self._since = BEGINNING  # where the last move ended
        self._looked_at = self._full_look_at = -math.inf
        self._due_at = math.inf  # on the monotonic clock
        self.has_more = False  # the last move may have left something that is due

    def move_due(self, *, is_busy: bool = False) -> int:
        """Move the first of what is due; return how many. The caller commits before it sends anything.

        While much is being sent, `is_busy`, a look that came a moment ago is good enough.
        """
        now = time.monotonic()
        if is_busy and not self.has_more and now < min(self._looked_at + LOOK_INTERVAL, self._due_at):
            return 0
        since = self._look(now)
        if self._due_at > self._looked_at:
            self.has_more = False
            return 0
        began = time.monotonic()
        with self._session.settling():
            moved = self._session.scheduled.move(since=since, limit=self._limit)
        self._learn(moved, took=time.monotonic() - began)
        return moved.count

    def wait(self) -> float:
        """Return the seconds until something is due; infinity where nothing waits."""
        return max(0.0, self._due_at - time.monotonic())

    def _look(self, now: float) -> datetime:
        is_full = now >= self._full_look_at
        since = BEGINNING if is_full else self._since
        wait = self._session.scheduled.next_due(since=since)
        self._looked_at = time.monotonic()
        if is_full:
            took = self._looked_at - now
            self._full_look_at = self._looked_at + min(took / FULL_LOOKS, LONGEST_WITHOUT)
        self._due_at = math.inf if wait is None else self._looked_at + wait
        return since

    def _learn(self, moved: Moved, *, took: float) -> None:
        self.has_more = moved.count == self._limit
        if moved.reached is None:
            self._due_at = time.monotonic() + LOCKED_PAUSE
            return
        self._since = max(self._since, moved.reached)
        if took > SLOW:
            self._limit = max(1, self._limit // 2)
        elif took <= FAST and self.has_more:
            self._limit = min(MOST, 2 * self._limit)
