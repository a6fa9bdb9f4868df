"""When did any process of this machine last ring a bell?"""

from __future__ import annotations

import mmap
import os
import stat
import struct
import tempfile
import time
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path

_MOMENT = struct.Struct("<q")  # monotonic nanoseconds, which all processes of a machine share


class HostClock:
    """Keep one moment in a small file that the processes of one user share; where that fails, in this process alone.

    A worker of a web server commits too seldom to save wake-ups on its own; sixteen of them together do.
    """

    def __init__(self, name: str, *, gap: timedelta) -> None:
        self._gap = int(gap.total_seconds() * 1e9)
        self._memory = _shared_memory(name) or bytearray(_MOMENT.size)

    def try_mark(self) -> bool:
        """Note a ring now, unless there was one within the gap."""
        now = time.monotonic_ns()
        (rung_at,) = _MOMENT.unpack_from(self._memory)
        # A moment in the future is left over from before a reboot.
        if 0 <= now - rung_at < self._gap:
            return False
        _MOMENT.pack_into(self._memory, 0, now)
        return True


def _shared_memory(name: str) -> mmap.mmap | None:
    digest = blake2b(name.encode(), digest_size=12).hexdigest()
    path = Path(tempfile.gettempdir(), f"eventbus-{os.getuid()}-{digest}")
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        found = os.fstat(file)
        if found.st_uid != os.getuid() or not stat.S_ISREG(found.st_mode):
            return None
        os.ftruncate(file, _MOMENT.size)
        return mmap.mmap(file, _MOMENT.size)
    except OSError:
        return None
    finally:
        os.close(file)
