"""How does only one relay of a bus work on an SQLite database? It holds a lock on a file beside it."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from django.db import connections

from django_eventbus.conf import BusConfig
from django_eventbus.models.relay_plain import PlainSession

_in_memory: set[tuple[str, str]] = set()  # (database name, bus): there is no file beside a database in memory
_in_memory_lock = threading.Lock()  # protects _in_memory


class SqliteSession(PlainSession):
    """Be a plain session that works only while it holds the lock; the system frees it when the process dies."""

    def __init__(self, config: BusConfig) -> None:
        super().__init__(config)
        name = str(connections[config.database].settings_dict["NAME"])
        self._name = (name, config.alias)
        is_in_memory = name == ":memory:" or name.startswith("file:")
        self._path = None if is_in_memory else Path(f"{name}.{config.alias}.relay")
        self._descriptor: int | None = None
        self._is_locked = False

    def begin(self) -> bool:
        """Take the lock, or say that another relay has it."""
        if not self._is_locked:
            self._is_locked = self._lock_name() if self._path is None else self._lock_file(self._path)
        return self._is_locked

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        elif self._is_locked:
            with _in_memory_lock:
                _in_memory.discard(self._name)
        self._is_locked = False
        super().close()

    def leave_to_parent(self) -> None:
        """Close a forked child's copy of the lock, which else would outlive the parent; the parent's stays locked."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _lock_name(self) -> bool:
        with _in_memory_lock:
            is_free = self._name not in _in_memory
            _in_memory.add(self._name)
        return is_free

    def _lock_file(self, path: Path) -> bool:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True
