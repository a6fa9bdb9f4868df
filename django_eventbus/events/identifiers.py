"""How does a message get its id?"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from uuid import UUID

_VERSION_AND_VARIANT = (7 << 76) | (2 << 62)
_COUNTER_LIMIT = 1 << 42


class MonotonicUuid7:
    """Make UUIDv7s that rise strictly within a process: 48 bits of time, a 42-bit counter, 32 random bits."""

    __slots__ = ("_clock", "_counter", "_lock", "_millisecond")

    def __init__(self, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Start anew: a forked child must not count on from its parent's numbers, nor wait for its lock."""
        self._lock = threading.Lock()  # protects _millisecond and _counter
        self._millisecond = -1
        self._counter = 0

    def __call__(self) -> UUID:
        """Return the next id."""
        random = int.from_bytes(os.urandom(10))
        with self._lock:
            now = self._clock() // 1_000_000
            if now > self._millisecond:
                self._millisecond, self._counter = now, random >> 39
            else:
                # Also where the clock went back: ids keep rising instead of repeating a time already used.
                self._counter += 1
                if self._counter >= _COUNTER_LIMIT:
                    self._millisecond, self._counter = self._millisecond + 1, random >> 39
            millisecond, counter = self._millisecond, self._counter
        high = (millisecond & 0xFFFFFFFFFFFF) << 80 | (counter >> 30) << 64
        return UUID(int=high | (counter & 0x3FFFFFFF) << 32 | (random & 0xFFFFFFFF) | _VERSION_AND_VARIANT)


_own = MonotonicUuid7()
os.register_at_fork(after_in_child=_own.reset)

uuid7: Callable[[], UUID] = getattr(uuid, "uuid7", _own)  # Python 3.14 brings the same algorithm
