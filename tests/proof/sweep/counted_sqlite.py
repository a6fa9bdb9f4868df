"""How is every statement on SQLite counted, with the commits that Django sends without one?"""

from __future__ import annotations

import sqlite3
from typing import Any

from .points import points


class CountedCursor(sqlite3.Cursor):
    def execute(self, sql: str, *arguments: Any) -> Any:
        with points.point(sql):
            return super().execute(sql, *arguments)

    def executemany(self, sql: str, *arguments: Any) -> Any:
        with points.point(sql):
            return super().executemany(sql, *arguments)


class CountedConnection(sqlite3.Connection):
    """Give out counting cursors, of whatever class is asked for."""

    def cursor(self, factory: Any = sqlite3.Cursor) -> Any:
        is_plain = factory is sqlite3.Cursor
        return super().cursor(CountedCursor if is_plain else type(factory.__name__, (factory, CountedCursor), {}))

    def commit(self) -> None:
        if self.in_transaction:
            with points.point("COMMIT"):
                super().commit()

    def rollback(self) -> None:
        if self.in_transaction:
            with points.point("ROLLBACK"):
                super().rollback()
