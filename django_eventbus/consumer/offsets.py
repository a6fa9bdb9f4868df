"""How far did a partition get: below which offset is everything done?"""

from __future__ import annotations

from collections import deque


class Positions:
    """Track the offsets that were received, and find the next one whose predecessors are all done.

    Only offsets that really came count: compaction and transaction markers leave gaps that no record will ever fill.
    """

    __slots__ = ("_done", "_last", "_pending", "low_water")

    def __init__(self, start: int | None = None) -> None:
        self._pending: deque[int] = deque()  # received, in order; the first is not done
        self._done: set[int] = set()  # done, but something before it is not
        self._last = -1 if start is None else start - 1
        self.low_water = start  # next offset to store; None while nothing is known

    def __len__(self) -> int:
        """Count what is received and not below the low-water mark."""
        return len(self._pending)

    def open(self) -> int:
        """Count what is received and not done."""
        return len(self._pending) - len(self._done)

    def receive(self, offset: int) -> bool:
        """Note a record; False for one that came before (a second fetch of the same place)."""
        if offset <= self._last:
            return False
        self._last = offset
        if self.low_water is None:
            self.low_water = offset
        self._pending.append(offset)
        return True

    def finish(self, offset: int) -> bool:
        """Note that a record is done; return whether the low-water mark rose."""
        self._done.add(offset)
        pending, done = self._pending, self._done
        rose = False
        while pending and pending[0] in done:
            first = pending.popleft()
            done.discard(first)
            self.low_water = first + 1
            rose = True
        return rose

    def skip_to(self, offset: int) -> None:
        """Raise the mark over offsets that hold no record, once nothing is in flight (the end was reached)."""
        if not self._pending and (self.low_water is None or offset > self.low_water):
            self.low_water = offset
