"""Whose process does a database session belong to? (What the sessions call themselves is their own affair.)"""

from __future__ import annotations

import os
from pathlib import Path

ENDPOINT, INODE = 1, 9  # columns of /proc/net/tcp


def ports_of(pid: int) -> set[int]:
    """Return the local TCP ports of a process; none where it has ended."""
    try:
        inodes = {inode for descriptor in Path(f"/proc/{pid}/fd").iterdir() if (inode := _socket(descriptor))}
        lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return set()
    rows = (line.split() for line in lines)
    return {int(row[ENDPOINT].rpartition(":")[2], 16) for row in rows if row[INODE] in inodes}


def _socket(descriptor: Path) -> str:
    try:
        target = os.readlink(descriptor)
    except OSError:
        return ""
    return target[len("socket:[") : -1] if target.startswith("socket:[") else ""
