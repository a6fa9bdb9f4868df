"""When did any process of this machine last ring a bell?"""

from __future__ import annotations

import mmap
import os
import stat
import struct
import tempfile
import time
from datetime import timedelta
from functools import cache
from hashlib import blake2b
from pathlib import Path

_MOMENT = struct.Struct("<q")  # monotonic nanoseconds, which all processes of a machine share
_PLACES = 4096


class HostClock:
    """Keep one moment in a small file that the processes of one user share; where that fails, in this process alone.

    A worker of a web server commits too seldom to save wake-ups on its own; sixteen of them together do. Two names may
    meet in one place: that costs a wake-up now and then, which polling makes good.
    """

    def __init__(self, name: str, *, gap: timedelta) -> None:
        self._gap = int(gap.total_seconds() * 1e9)
        self._memory = _shared_memory(tempfile.gettempdir())
        digest = blake2b(name.encode(), digest_size=8).digest()
        self._place = int.from_bytes(digest, "big") % _PLACES * _MOMENT.size

    def try_mark(self) -> bool:
        """Note a ring now, unless there was one within the gap."""
        now = time.monotonic_ns()
        (rung_at,) = _MOMENT.unpack_from(self._memory, self._place)
        # A moment in the future is left over from before a reboot.
        if 0 <= now - rung_at < self._gap:
            return False
        _MOMENT.pack_into(self._memory, self._place, now)
        return True


@cache
def _shared_memory(folder: str) -> mmap.mmap | bytearray:
    path = Path(folder, f"django-eventbus-{os.getuid()}")
    size = _PLACES * _MOMENT.size
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return bytearray(size)
    try:
        found = os.fstat(file)
        if found.st_uid != os.getuid() or not stat.S_ISREG(found.st_mode):
            return bytearray(size)
        os.ftruncate(file, size)
        return mmap.mmap(file, size)
    except OSError:
        return bytearray(size)
    finally:
        os.close(file)
