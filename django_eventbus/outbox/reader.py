"""Which rows come next, and from which id on need nobody look any more?"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from django_eventbus.events.envelope import OutgoingRow

from .window import Candidate, Range, Window

LOOK_INTERVAL = 0.2  # seconds between looks at who writes
RESCAN_INTERVAL = 60.0  # seconds until a read starts at zero again, whatever the floor says
MANY_RANGES = 400  # foreign ids leave a range each: then look with every step


class Source(Protocol):
    """Be what the reader asks of the database."""

    def read(self, *, after: int, ranges: Sequence[Range], limit: int) -> list[OutgoingRow]: ...
    def last_id(self) -> int: ...
    def writers(self) -> Iterable[str]: ...


class WindowReader:
    """Read the outbox of one share in the order of ids, through the window that this relay has earned."""

    def __init__(self, source: Source, *, limit: int) -> None:
        self._source = source
        self._limit = limit
        self._safe = 0
        self._candidate: Candidate | None = None
        self._looked_at = 0.0
        self.restart()

    def restart(self) -> None:
        """Forget what was learned: another relay may have been at work, so the next read starts at zero."""
        self.window = Window()
        self._rescan_at = 0.0
        self._read: tuple[list[int], int, bool] | None = None

    def read(self) -> list[OutgoingRow]:
        """Return the next messages; call `learn` once the step that sent them has committed."""
        self._look()  # before the read: only a read that begins after an id became safe may rely on it
        if time.monotonic() < self._rescan_at:
            rows = self._source.read(after=self.window.after, ranges=self.window.ranges, limit=self._limit)
        else:
            rows = self._rescan()
        self._read = ([row[0] for row in rows], self._safe, len(rows) >= self._limit)
        return rows

    def learn(self, gone: Collection[int]) -> None:
        """Note which of the messages read are no longer in the outbox, now that the step has committed."""
        if self._read is None:
            return
        ids, safe, is_cut_off = self._read
        self._read = None
        left = [] if len(gone) == len(ids) else [id_ for id_ in ids if id_ not in gone]
        self.window = self.window.learn(ids, left=left, safe=safe, is_cut_off=is_cut_off)

    def _rescan(self) -> list[OutgoingRow]:
        """Read everything, should the window be wrong: an operator may have reset the sequence, or restored rows.

        A window that holds is kept: under a writer that stays open it could not be learnt again.
        """
        self._rescan_at = time.monotonic() + RESCAN_INTERVAL
        rows = self._source.read(after=0, ranges=(), limit=self._limit)
        if not all(self.window.covers(row[0]) for row in rows):
            self.window = Window()
            self._safe = 0
            self._candidate = None
        return rows

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < LOOK_INTERVAL and len(self.window.ranges) < MANY_RANGES:
            return
        self._looked_at = now
        if self._candidate is None:
            last = self._source.last_id()  # before the writers: who has an id up to it holds the lock by now
            self._candidate = Candidate(id=last, writers=frozenset(self._source.writers()))
        else:
            self._candidate = self._candidate.still_written_by(self._source.writers())
        if self._candidate.is_safe:
            self._safe = self._candidate.id
            self._candidate = None
