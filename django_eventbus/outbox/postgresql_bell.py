"""How does a notifier reach relays that listen on PostgreSQL?"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import connections

from django_eventbus.models.control import FIND_CHANNEL

if TYPE_CHECKING:
    from psycopg import Connection


class PostgresqlBell:
    """Send NOTIFY on a connection of its own: inside a business transaction it would serialise all commits."""

    window = timedelta(milliseconds=2)

    def __init__(self, bus: str, *, using: str) -> None:
        self._bus = bus
        self._wrapper = connections[using]
        self._driver: Any = self._wrapper.Database  # type: ignore[attr-defined]
        self._connection: Connection | None = None
        self._statement = b""  # known once the bus has its number
        self.errors: tuple[type[Exception], ...] = (self._driver.Error, OSError)

    def ring(self) -> None:
        if self._connection is not None:
            try:
                self._notify(self._connection)
            except self._driver.Error:
                self.close()  # the server was restarted, or a pooler hung up: once more on a new connection
            else:
                return
        parameters = {**self._wrapper.get_connection_params(), "autocommit": True}
        self._connection = self._driver.connect(**parameters)
        self._notify(self._connection)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._statement = b""

    def _notify(self, connection: Connection) -> None:
        if not self._statement:
            row = connection.execute(FIND_CHANNEL, [self._bus]).fetchone()
            if row is None:
                return  # no relay has ever listened
            self._statement = f"NOTIFY {row[0]}".encode()
        # Bare libpq: a cursor would hold the interpreter for ten times as long, while a request needs it.
        try:
            result = connection.pgconn.exec_(self._statement)
        except MemoryError as exc:  # what psycopg makes of "nothing could be sent"
            raise self._driver.OperationalError("the connection is lost") from exc
        if result.status != self._driver.pq.ExecStatus.COMMAND_OK:
            raise self._driver.errors.error_from_result(result)
