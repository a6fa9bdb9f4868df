"""The files beside the database in which processes note what they are about to do; they outlive a kill."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

FOLDER = os.environ.get("HISTORY_NOTES", "")
CALM = "calm"  # file that says that nobody dies or freezes by himself any more
HOLD = "hold"  # file that says that enough waits to be handled: whoever publishes pauses

_open: dict[str, int] = {}


def note(kind: str, text: str) -> None:
    """Append lines to the file of this process, in one write; does nothing where no folder was named."""
    if not FOLDER:
        return
    if kind not in _open:
        place = Path(FOLDER, f"{kind}-{os.getpid()}-{time.time_ns()}")  # a process id may come twice
        _open[kind] = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(_open[kind], f"{text}\n".encode())


def is_there(name: str) -> bool:
    return bool(FOLDER) and Path(FOLDER, name).exists()


def read(folder: Path, kind: str) -> Iterator[str]:
    """Yield the lines of one kind over all processes; a kill may have cut off the last one of a file."""
    for file in sorted(folder.glob(f"{kind}-*")):
        with file.open() as lines:
            yield from (line.rstrip("\n") for line in lines if line.endswith("\n"))
