"""How does a command that runs for ever end: by finishing what is in flight, or at once?"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ABORT_AFTER = 1.0  # seconds: a terminal may send both signals of one Ctrl-C through parent and child


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM or Ctrl-C sets; a second signal, at least a second later, ends the process at once.

    What an aborted process had in flight is done again by the next one: nothing is lost by it.
    """
    stop = threading.Event()
    stopped_at = 0.0

    def receive(number: int, frame: FrameType | None) -> None:
        nonlocal stopped_at
        if not stop.is_set():
            stopped_at = time.monotonic()
            stop.set()
        elif time.monotonic() - stopped_at >= ABORT_AFTER:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.signal(number, receive) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, action in previous.items():
            signal.signal(number, action)
