"""How do many rows become one INSERT, at the least cost to the request that waits for it?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, count
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

try:
    from psycopg import RawCursor
except ImportError:  # without PostgreSQL it is not called
    RawCursor = None  # type: ignore[assignment,misc]

ROWS_AT_ONCE = 1000  # the server counts the values of a statement in 16 bits


def insert_rows(connection: BaseDatabaseWrapper, into: str, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows, in their order, with one statement for each thousand; joins the caller's transaction.

    `into` is the statement up to VALUES. The server binds the values: to write them into the text takes the client
    twice as long, of which more than half is a search for their places, which psycopg remembers up to 50 of them only.
    """
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        values = list(chain.from_iterable(part))
        if connection.vendor != "postgresql" or connection.queries_logged:  # Django can log its own cursors only
            with connection.cursor() as cursor:
                cursor.execute(_statement(into, len(part), len(part[0]), is_numbered=False), values)
        else:
            connection.ensure_connection()
            raw: Any = RawCursor(connection.connection)  # numbered places; make_cursor is typed for Django's own
            with connection.make_cursor(raw) as cursor:
                cursor.execute(_statement(into, len(part), len(part[0]), is_numbered=True), values)


@lru_cache(32)
def _statement(into: str, rows: int, columns: int, *, is_numbered: bool) -> str:
    numbers = count(1)
    row = [[f"${next(numbers)}" if is_numbered else "%s" for _ in range(columns)] for _ in range(rows)]
    return f"{into} VALUES " + ", ".join(f"({', '.join(places)})" for places in row)
