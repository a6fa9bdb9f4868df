"""How does a notifier reach relays that listen on PostgreSQL?"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import connections

from django_eventbus.models.control import NOTIFY_RELAYS

if TYPE_CHECKING:
    from psycopg import Connection


class PostgresqlBell:
    """Send NOTIFY on a connection of its own: inside a business transaction it would serialise all commits."""

    window = timedelta(0)

    def __init__(self, bus: str, *, using: str) -> None:
        self._bus = bus
        self._wrapper = connections[using]
        self._driver: Any = self._wrapper.Database  # type: ignore[attr-defined]
        self._connection: Connection | None = None
        self.errors: tuple[type[Exception], ...] = (self._driver.Error, OSError)

    def ring(self) -> None:
        if self._connection is not None:
            try:
                self._notify(self._connection)
            except self._driver.OperationalError:
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

    def _notify(self, connection: Connection) -> None:
        connection.execute(NOTIFY_RELAYS, [self._bus])
