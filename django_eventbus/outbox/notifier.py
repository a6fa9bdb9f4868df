"""How do a thousand commits become a few wake-ups, sent by a thread that no request waits for?"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import Protocol

logger = logging.getLogger(__name__)

LINGER = timedelta(seconds=60)  # an idle thread ends after this long, and gives its connection back
PAUSE_AFTER_FAILURE = timedelta(seconds=1)
STOP_TIMEOUT = timedelta(seconds=2)


class Bell(Protocol):
    """Reach the relays of one bus; used by one thread, opens what it needs on the first ring."""

    window: timedelta  # shortest time between two rings: the first commit rings at once, the next ones share a ring
    errors: tuple[type[Exception], ...]  # what `ring` raises when nobody can be reached

    def ring(self) -> None: ...
    def close(self) -> None: ...


class Notifier:
    """Ring one bell for whoever asks: at once, and then once per window; has no thread while nobody asks.

    Every request is followed by a ring that began after it, so no commit is left to polling while the bell works.
    `_lock` protects `_thread`, and that nobody asks without one. A queue wakes the thread, since it is written
    in C: an Event costs the request ten times as much.
    """

    def __init__(self, open_bell: Callable[[], Bell], *, name: str) -> None:
        self._open_bell = open_bell
        self._name = name
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._bell: Bell | None = None
        self._requests: SimpleQueue[None] = SimpleQueue()
        self._is_asked = False  # a request has been queued, and no ring has begun since
        self._is_stopping = threading.Event()
        self._is_failing = False

    def request(self) -> None:
        """Have the bell rung soon; returns at once."""
        # Without the lock: the flag is taken down before a ring, so who finds it up committed before that ring.
        if self._is_asked:
            return
        with self._lock:
            self._ask()
            if self._thread is None:
                self._is_stopping.clear()
                self._thread = threading.Thread(target=self._run, name=f"eventbus-{self._name}", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Ring once more if someone waits for it, then end the thread."""
        self._is_stopping.set()
        with self._lock:
            thread = self._thread
            if thread is not None:
                self._ask()
        if thread is not None:
            thread.join(STOP_TIMEOUT.total_seconds())

    def _ask(self) -> None:
        if not self._is_asked:
            self._is_asked = True
            self._requests.put(None)

    def _run(self) -> None:
        try:
            self._bell = bell = self._open_bell()
            try:
                self._serve(bell)
            finally:
                bell.close()
        finally:
            # Also where an error ended the thread: the next request then starts another one.
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None
                    self._requests = SimpleQueue()
                    self._is_asked = False

    def _serve(self, bell: Bell) -> None:
        open_at = 0.0  # end of the window
        while True:
            if not self._is_wanted():
                return
            # Waited for before a ring, not after: where commits come less often, the thread is awake once for each.
            if (remaining := open_at - time.monotonic()) > 0:
                self._is_stopping.wait(remaining)
            self._is_asked = False
            self._ring(bell)
            open_at = time.monotonic() + bell.window.total_seconds()
            if self._is_stopping.is_set() and not self._is_asked:
                return

    def _is_wanted(self) -> bool:
        try:
            self._requests.get(timeout=LINGER.total_seconds())
        except Empty:
            with self._lock:
                if not self._is_asked:
                    self._thread = None
                    return False
            self._requests.get()  # somebody asked between the two
        return True

    def _ring(self, bell: Bell) -> None:
        try:
            bell.ring()
            self._is_failing = False
        except bell.errors as exc:
            if not self._is_failing:
                logger.warning("wake-up failed, relays find new rows by polling way=%s error=%r", self._name, exc)
            self._is_failing = True
            self._is_stopping.wait(PAUSE_AFTER_FAILURE.total_seconds())


class Notifiers:
    """Hold the notifiers of this process. `_lock` protects `_by_name`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_name: dict[str, Notifier] = {}
        self._of_parents: list[Notifier] = []

    def of(self, name: str, open_bell: Callable[[], Bell]) -> Notifier:
        """Return the notifier of this name, made on the first call."""
        found = self._by_name.get(name)
        if found is None:
            with self._lock:
                found = self._by_name.setdefault(name, Notifier(open_bell, name=name))
        return found

    def stop(self) -> None:
        """Stop all threads and close their connections."""
        with self._lock:
            stopping, self._by_name = list(self._by_name.values()), {}
        for notifier in stopping:
            notifier.stop()

    def forget(self) -> None:
        """Begin anew in a forked child, which has its parent's connections but not its threads."""
        # Kept, not dropped: a finalised connection would say goodbye on the socket that the parent still uses.
        self._of_parents += self._by_name.values()
        self._lock = threading.Lock()
        self._by_name = {}


notifiers = Notifiers()
os.register_at_fork(after_in_child=notifiers.forget)
atexit.register(notifiers.stop)
