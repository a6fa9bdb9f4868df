"""How does a notifier reach relays that listen on PostgreSQL?"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from django.db import connections

from django_eventbus.models.control import NOTIFY_RELAYS

if TYPE_CHECKING:
    from psycopg import Connection


class PostgresqlBell:
    """Send NOTIFY on a connection of its own: inside a business transaction it would serialise all commits."""

    def __init__(self, alias: str) -> None:
        self._wrapper = connections[alias]
        self._driver: Any = self._wrapper.Database  # type: ignore[attr-defined]
        self._connection: Connection | None = None
        self.errors: tuple[type[Exception], ...] = (self._driver.Error, OSError)

    def ring(self, buses: Collection[str]) -> None:
        if self._connection is not None:
            try:
                self._notify(self._connection, buses)
            except self._driver.OperationalError:
                self.close()  # the server was restarted, or a pooler hung up: once more on a new connection
            else:
                return
        self._connection = self._connect()
        self._notify(self._connection, buses)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> Connection:
        parameters = {**self._wrapper.get_connection_params(), "autocommit": True}
        connection: Connection = self._driver.connect(**parameters)
        return connection

    def _notify(self, connection: Connection, buses: Collection[str]) -> None:
        connection.execute(NOTIFY_RELAYS, [list(buses)])
