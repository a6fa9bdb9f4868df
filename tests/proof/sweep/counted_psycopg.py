"""How is everything counted that goes to PostgreSQL, whoever sends it: Django, the relay, or bare libpq?

Stands in for the module `psycopg` as the driver of a Django backend; its connections count each exchange with the
server. Waiting for notifications is none, nor is what psycopg only notes on its own side.
"""

from __future__ import annotations

import sys
from typing import Any

import psycopg

from .points import points

INSIDE = ("psycopg", "psycopg_binary", "psycopg_c")
QUIET = ("notifies", "_set_autocommit_gen")


class BareLibpq:
    """Count statements that reach below psycopg."""

    def __init__(self, pgconn: Any) -> None:
        self._pgconn = pgconn

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._pgconn, name)
        if not name.startswith("exec"):
            return found

        def counted(command: bytes, *arguments: Any) -> Any:
            with points.point(command.decode()):
                return found(command, *arguments)

        return counted


class CountedConnection(psycopg.Connection[Any]):
    """Count each exchange with the server."""

    _libpq: Any = None

    @property
    def pgconn(self) -> Any:
        # psycopg itself needs its own object; all others get one that counts.
        caller = sys._getframe(1).f_globals["__name__"].partition(".")[0]
        return self._libpq if caller in INSIDE else BareLibpq(self._libpq)

    @pgconn.setter
    def pgconn(self, value: Any) -> None:
        self._libpq = value

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        name = getattr(gen, "__name__", "")
        if name in QUIET:
            return super().wait(gen, *arguments, **options)
        with points.point(_label(gen, name)):
            return super().wait(gen, *arguments, **options)


def connect(*arguments: Any, **options: Any) -> CountedConnection:
    return CountedConnection.connect(*arguments, **options)


def __getattr__(name: str) -> Any:
    """Be psycopg in everything else."""
    return getattr(psycopg, name)


def _label(gen: Any, name: str) -> str:
    """Name the statement, which the generator has as its argument; COMMIT and ROLLBACK have a generator each."""
    frame = getattr(gen, "gi_frame", None)
    query = frame.f_locals.get("query") or frame.f_locals.get("command") if frame is not None else None
    if query is None:
        return name.strip("_").removesuffix("_gen").upper()
    return query.decode() if isinstance(query, bytes) else str(query)
