"""Which statements open, divide and guard one unit of work of a consumer?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .inbox import InboxMessage

try:
    from psycopg import ClientCursor, OperationalError
    from psycopg.errors import error_from_result
    from psycopg.pq import ExecStatus
except ImportError:  # without PostgreSQL none of them is called
    ClientCursor = None  # type: ignore[assignment,misc]

# Locks before everything else: their order is the same in every unit, so no deadlock across partitions; the epoch is
# read by a statement of its own, since one statement reads with the snapshot from before its wait.
READ_COMMITTED = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
FENCE = """SET LOCAL synchronous_commit = on;
SELECT pg_advisory_xact_lock_shared(('eventbus_partition'::regclass::oid::bigint << 32) | k) FROM unnest(%s::int[]) k;
SELECT id, epoch, clock_timestamp() FROM eventbus_partition WHERE id = ANY(%s::int[])"""
INBOX = """;
INSERT INTO eventbus_inbox (key, handler, partition_id, position)
SELECT k, (%s::text[])[h], p, o FROM unnest(%s::uuid[], %s::int[], %s::int[], %s::bigint[]) AS u(k, h, p, o)
ON CONFLICT DO NOTHING RETURNING key;
SELECT l FROM unnest(%s::uuid[]) l WHERE EXISTS (SELECT 1 FROM eventbus_retry r WHERE r.lane = l)"""
SAVEPOINT = "; SAVEPOINT m"

INSERT_SQLITE = "INSERT OR IGNORE INTO eventbus_inbox (key, handler, partition_id, position) VALUES "
ROWS_AT_ONCE = 200  # SQLite before 3.32 allows 999 parameters in a statement


class InboxRow(NamedTuple):
    """One (message, handler name) that a unit takes."""

    key: UUID
    handler: str
    partition_id: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What the first round trip of a unit answered."""

    epochs: dict[int, int]  # partition row -> epoch, read under the shared lock
    now: datetime  # the database's clock
    fresh: set[UUID]  # inbox keys that were not there before
    waiting: set[UUID]  # lanes that have rows in the retry table


def open_unit(
    using: str, *, partitions: Sequence[int], inbox: Iterable[InboxRow] = (), lanes: Iterable[UUID] = ()
) -> Opened:
    """Fence, take the messages, and see who waits: one round trip. Must run first inside atomic.

    Leaves a savepoint `m`: `keep_savepoint` after each handler that succeeded, `undo_savepoint` after one that failed.
    """
    connection = connections[using]
    rows = _sorted(inbox)
    if connection.vendor == "postgresql":
        return _open_postgresql(connection, partitions=sorted(partitions), rows=rows, lanes=list(lanes))
    return _open_sqlite(connection, partitions=sorted(partitions), rows=rows, lanes=list(lanes))


def take_messages(using: str, inbox: Iterable[InboxRow]) -> set[UUID]:
    """Insert inbox rows inside an open unit; return the keys that were not there before."""
    connection = connections[using]
    rows = _sorted(inbox)
    if connection.vendor != "postgresql":
        with connection.cursor() as cursor:
            return _insert_sqlite(cursor, rows)
    statement = INBOX.partition("RETURNING key")[0].lstrip(";") + "RETURNING key"
    return {row[0] for row in _execute(connection, statement, _columns(rows))[0] or ()} if rows else set()


def is_taken(using: str, keys: Sequence[UUID]) -> bool:
    """Say whether the inbox has one of these keys."""
    return InboxMessage.objects.using(using).filter(key__in=keys).exists() if keys else False


def read_committed(using: str) -> None:
    """Let each statement see what was committed before it, whatever the settings say; first in a transaction."""
    connection = connections[using]
    if connection.vendor == "postgresql" and _is_outermost(connection):
        _each(connection, READ_COMMITTED)


def keep_savepoint(using: str) -> None:
    """Keep what the last handler did, and begin the next one's savepoint: one round trip where the server allows it."""
    connection = connections[using]
    if connection.vendor == "postgresql":
        _command(connection, b"RELEASE SAVEPOINT m; SAVEPOINT m")
    else:
        _each(connection, "RELEASE SAVEPOINT m", "SAVEPOINT m")


def undo_savepoint(using: str) -> None:
    """Undo what the last handler did; the savepoint stays for the next one."""
    connection = connections[using]
    if connection.vendor == "postgresql":
        _command(connection, b"ROLLBACK TO SAVEPOINT m")
    else:
        _each(connection, "ROLLBACK TO SAVEPOINT m")


def limit_statements(using: str, milliseconds: int | None) -> None:
    """Let the server cancel a handler's statement after this time; None takes the limit back. PostgreSQL only."""
    connection = connections[using]
    if connection.vendor == "postgresql":
        limit = "DEFAULT" if milliseconds is None else str(milliseconds)
        _execute(connection, f"SET LOCAL statement_timeout TO {limit}", ())


def _open_postgresql(
    connection: BaseDatabaseWrapper, *, partitions: list[int], rows: list[InboxRow], lanes: list[UUID]
) -> Opened:
    statement = FENCE
    values: list[object] = [partitions, partitions]
    if rows or lanes:
        statement += INBOX
        values += [*_columns(rows), _array(lane.hex for lane in lanes)]
    if _is_outermost(connection):
        statement = f"{READ_COMMITTED}; {statement}"
    answers = _execute(connection, statement + SAVEPOINT, values)
    fenced = next(index for index, answer in enumerate(answers) if answer is not None) + 1
    epochs = cast("list[tuple[int, int, datetime]]", answers[fenced])
    fresh, waiting = answers[fenced + 1 : fenced + 3] if rows or lanes else ([], [])
    return Opened(
        epochs={partition: epoch for partition, epoch, _ in epochs},
        now=epochs[0][2] if epochs else datetime.now(UTC),
        fresh={row[0] for row in fresh or ()},
        waiting={row[0] for row in waiting or ()},
    )


def _sorted(inbox: Iterable[InboxRow]) -> list[InboxRow]:
    # Everybody inserts in the order of the keys: two units that share messages wait for each other in one direction.
    return sorted(inbox, key=lambda row: row.key.int)


def _columns(rows: Sequence[InboxRow]) -> list[object]:
    """Write the inbox rows as the arrays of the INSERT: text that is ready to send costs a third of a list to adapt."""
    keys, handlers, partitions, positions = zip(*rows, strict=True) if rows else ((), (), (), ())
    names = {name: str(place) for place, name in enumerate(dict.fromkeys(handlers), start=1)}
    return [
        list(names),
        _array(key.hex for key in keys),
        _array(names[name] for name in handlers),
        _array(map(str, partitions)),
        _array(map(str, positions)),
    ]


def _array(values: Iterable[str]) -> str:
    return "{" + ",".join(values) + "}"


def _is_outermost(connection: BaseDatabaseWrapper) -> bool:
    return len(connection.atomic_blocks) == 1


def _execute(
    connection: BaseDatabaseWrapper, statement: str, values: Sequence[object]
) -> list[list[tuple[Any, ...]] | None]:
    """Run several statements in one round trip: a cursor that binds on the client, whatever the settings say."""
    with connection.wrap_database_errors, ClientCursor(connection.connection) as cursor:
        cursor.execute(statement, values or None)
        answers: list[list[tuple[Any, ...]] | None] = []
        while True:
            answers.append(cursor.fetchall() if cursor.description else None)
            if not cursor.nextset():
                return answers


def _command(connection: BaseDatabaseWrapper, statement: bytes) -> None:
    """Run statements without values or rows: bare libpq costs a tenth of a cursor, and this runs for every message."""
    with connection.wrap_database_errors:
        try:
            result = connection.connection.pgconn.exec_(statement)
        except MemoryError as exc:  # what psycopg makes of "nothing could be sent"
            raise OperationalError("the connection is lost") from exc
        if result.status != ExecStatus.COMMAND_OK:
            raise error_from_result(result)


def _open_sqlite(
    connection: BaseDatabaseWrapper, *, partitions: list[int], rows: list[InboxRow], lanes: list[UUID]
) -> Opened:
    """Do the same statement by statement; the first one writes, so that no other transaction writes from then on."""
    epochs: dict[int, int] = {}
    waiting: set[UUID] = set()
    with connection.cursor() as cursor:
        for partition in partitions:
            cursor.execute("UPDATE eventbus_partition SET epoch = epoch WHERE id = %s", [partition])
            cursor.execute("SELECT id, epoch FROM eventbus_partition WHERE id = %s", [partition])
            epochs.update(cursor.fetchall())
        fresh = _insert_sqlite(cursor, rows)
        for start in range(0, len(lanes), ROWS_AT_ONCE):
            names = [lane.hex for lane in lanes[start : start + ROWS_AT_ONCE]]
            places = ", ".join(["%s"] * len(names))
            cursor.execute(f"SELECT DISTINCT lane FROM eventbus_retry WHERE lane IN ({places})", names)  # noqa: S608
            waiting.update(UUID(lane) for (lane,) in cursor.fetchall())
    _each(connection, "SAVEPOINT m")
    return Opened(epochs=epochs, now=datetime.now(UTC), fresh=fresh, waiting=waiting)


def _insert_sqlite(cursor: Any, rows: Sequence[InboxRow]) -> set[UUID]:
    fresh: set[UUID] = set()
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        values = [value for row in part for value in (row.key.hex, *row[1:])]
        cursor.execute(INSERT_SQLITE + ", ".join(["(%s, %s, %s, %s)"] * len(part)) + " RETURNING key", values)
        fresh.update(UUID(key) for (key,) in cursor.fetchall())
    return fresh


def _each(connection: BaseDatabaseWrapper, *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
