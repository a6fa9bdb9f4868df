"""How do a thousand commits become a few wake-ups, sent by a thread that no request waits for?"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Protocol

logger = logging.getLogger(__name__)

GAP = timedelta(milliseconds=2)  # shortest time between two rings
LINGER = timedelta(seconds=60)  # an idle thread ends after this long, and gives its connection back
PAUSE_AFTER_FAILURE = timedelta(seconds=1)
STOP_TIMEOUT = timedelta(seconds=2)


class Bell(Protocol):
    """Reach the relays of some buses; used by one thread, opens what it needs on the first ring."""

    errors: tuple[type[Exception], ...]  # what `ring` raises when nobody can be reached

    def ring(self, buses: Collection[str]) -> None: ...
    def close(self) -> None: ...


class Notifier:
    """Ring one bell for whoever asks, at most once per gap; has no thread while nobody asks.

    `_lock` protects `_waiting` and `_thread`.
    """

    def __init__(self, open_bell: Callable[[], Bell], *, name: str, gap: timedelta = GAP) -> None:
        self._open_bell = open_bell
        self._name = name
        self._gap = gap.total_seconds()
        self._lock = threading.Lock()
        self._waiting: set[str] = set()
        self._thread: threading.Thread | None = None
        self._bell: Bell | None = None
        self._is_asked = threading.Event()
        self._is_stopping = threading.Event()
        self._is_failing = False

    def request(self, bus: str) -> None:
        """Have the bell rung for a bus soon; returns at once."""
        # Without the lock: a bus leaves `_waiting` before its ring, so who still finds it there committed before that.
        if bus in self._waiting:
            return
        with self._lock:
            self._waiting.add(bus)
            self._is_asked.set()
            if self._thread is None:
                self._start()

    def stop(self) -> None:
        """Ring once more for who still waits, then end the thread."""
        with self._lock:
            thread = self._thread
            self._is_stopping.set()
            self._is_asked.set()
        if thread is not None:
            thread.join(STOP_TIMEOUT.total_seconds())

    def _start(self) -> None:
        self._is_stopping.clear()
        self._thread = threading.Thread(target=self._run, name=f"eventbus-notifier-{self._name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._bell = bell = self._open_bell()
        try:
            while self._has_more():
                self._ring(bell)
        finally:
            # Also where an error ended the thread: the next request then finds nobody waiting, and starts another one.
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None
                    self._waiting.clear()
            bell.close()

    def _has_more(self) -> bool:
        if not self._is_stopping.is_set():
            self._is_asked.wait(LINGER.total_seconds())
        with self._lock:
            self._is_asked.clear()
            if not self._waiting:
                self._thread = None
                return False
            return True

    def _ring(self, bell: Bell) -> None:
        with self._lock:
            buses, self._waiting = self._waiting, set()
        try:
            bell.ring(sorted(buses))
        except bell.errors as exc:
            self._report(exc)
            self._is_stopping.wait(PAUSE_AFTER_FAILURE.total_seconds())
        else:
            self._is_failing = False
            self._is_stopping.wait(self._gap)

    def _report(self, exc: Exception) -> None:
        if not self._is_failing:
            logger.warning("wake-up failed, relays find new rows by polling way=%s error=%r", self._name, exc)
        self._is_failing = True


class Notifiers:
    """Hold the notifiers of this process. `_lock` protects `_by_name`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_name: dict[str, Notifier] = {}
        self._of_parents: list[Notifier] = []

    def of(self, name: str, open_bell: Callable[[], Bell], *, gap: timedelta = GAP) -> Notifier:
        """Return the notifier of this name, made on the first call."""
        found = self._by_name.get(name)
        if found is None:
            with self._lock:
                found = self._by_name.setdefault(name, Notifier(open_bell, name=name, gap=gap))
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
