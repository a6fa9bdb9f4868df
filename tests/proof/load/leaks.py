"""Leaks that a soak has to find: planted in the handler of the load where ``LOAD_LEAK`` names some."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

EVERY = 10  # messages
KEPT: list[object] = []


def thread() -> None:
    """Start a thread that waits for ever."""
    threading.Thread(target=threading.Event().wait, daemon=True).start()


def file() -> None:
    """Open a file and forget it."""
    KEPT.append(open(os.devnull, "rb"))  # noqa: SIM115


def memory() -> None:
    """Keep a megabyte."""
    KEPT.append(os.urandom(1_000_000))


def connection() -> None:
    """Open a database session and forget it."""
    import psycopg
    from django.db import connections

    parameters = connections["default"].get_connection_params()
    parameters = {name: parameters[name] for name in ("dbname", "user", "host", "port") if name in parameters}
    KEPT.append(psycopg.connect(**parameters))


def lock() -> None:
    """Take an advisory lock in the session of the handler, which keeps it."""
    from django.db import connection as handlers_own

    with handlers_own.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock_shared(nextval('load_lock_seq'))")


LEAKS: dict[str, Callable[[], None]] = {leak.__name__: leak for leak in (thread, file, memory, connection, lock)}
_planted = [LEAKS[name] for name in os.environ.get("LOAD_LEAK", "").split()]
_calls = 0


def drip() -> None:
    """Leak something at every so many calls."""
    global _calls
    _calls += 1
    if _planted and not _calls % EVERY:
        for leak in _planted:
            leak()
