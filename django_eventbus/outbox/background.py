"""Who relays where nobody runs `drain_outbox`: which thread of the process that publishes?"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable

from django.db import connections

from django_eventbus.conf import BusConfig

from .relay import Relay


class BackgroundRelay:
    """Run one relay in a daemon thread of its own; the thread begins with a look, so no commit before it is missed."""

    def __init__(self, config: BusConfig, open_relay: Callable[[], Relay]) -> None:
        self._open_relay = open_relay
        self._patience = config.consumer.shutdown_timeout.total_seconds()
        self._relay: Relay | None = None
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"eventbus-relay-{config.alias}", daemon=True)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        relay = self._relay
        if relay is not None:
            relay.wake()

    def leave_to_parent(self) -> None:
        """Let go, in a forked child, of the locks that the parent holds: they have to end with the parent alone."""
        if self._relay is not None:
            self._relay.leave_to_parent()

    def stop(self) -> None:
        """Let the handlers that run finish, then end the thread."""
        self._is_stopping.set()
        self.wake()
        self._thread.join(self._patience)

    def _run(self) -> None:
        try:
            self._relay = self._open_relay()
            self._relay.run(self._is_stopping)
        finally:
            self._relay = None
            connections.close_all()


class BackgroundRelays:
    """Hold the background relays of this process, at most one per bus. `_lock` protects `_by_bus`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_bus: dict[str, BackgroundRelay] = {}
        self._of_parents: list[BackgroundRelay] = []

    def wake(self, config: BusConfig, open_relay: Callable[[], Relay]) -> None:
        """Wake the relay of a bus, or start it with the first commit."""
        found = self._by_bus.get(config.alias)
        if found is not None and found.is_alive:
            found.wake()
            return
        with self._lock:
            found = self._by_bus.get(config.alias)
            if found is None or not found.is_alive:
                self._by_bus[config.alias] = started = BackgroundRelay(config, open_relay)
                started.start()

    def stop(self) -> None:
        """Stop all of them; what is left in the outbox waits for the next commit or process."""
        with self._lock:
            stopping, self._by_bus = list(self._by_bus.values()), {}
        for relay in stopping:
            relay.stop()

    def forget(self) -> None:
        """Begin anew in a forked child, which has its parent's connections but not its threads."""
        # Kept, not dropped: a finalised connection would say goodbye on the socket that the parent still uses.
        self._of_parents += self._by_bus.values()
        for relay in self._by_bus.values():
            relay.leave_to_parent()
        self._lock = threading.Lock()
        self._by_bus = {}


background_relays = BackgroundRelays()
os.register_at_fork(after_in_child=background_relays.forget)
atexit.register(background_relays.stop)
