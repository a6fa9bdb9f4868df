"""How does a relay read and settle the outbox on PostgreSQL, on connections of its own?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from django.db import connections

from django_eventbus.conf import BusConfig
from django_eventbus.conf.sections import SHARDS
from django_eventbus.events.envelope import OutgoingRow

from .control import ControlFlag
from .relay_lanes import TRAVELLING, RelayLanes
from .relay_scheduled import RelaySchedule

if TYPE_CHECKING:
    import psycopg


# A step is one transaction. Losing its commit only sends again what is still there, so it need not wait for the disk.
# The planner has no statistics of a table that fills and empties all day: it must not fall for a scan or a sort.
# A plan that has nothing but a scan left looks dear, and would be compiled for ten times what it takes.
# A plan for one value is made again for the next, and asks the index for its last live entry: after a backlog, that
# means a walk over all that is dead and not yet vacuumed.
BEGIN = """
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL synchronous_commit = off;
SET LOCAL idle_in_transaction_session_timeout = {grace};
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
SET LOCAL jit = off;
SET LOCAL plan_cache_mode = force_generic_plan
"""
# One lock after the other, and none after the first that is taken: a standby's try disturbs nobody.
LOCK = """
WITH RECURSIVE attempt (place, is_taken) AS (
    SELECT 1, pg_try_advisory_xact_lock(('{{{keys}}}'::bigint[])[1])
    UNION ALL
    SELECT place + 1, pg_try_advisory_xact_lock(('{{{keys}}}'::bigint[])[place + 1]) FROM attempt
    WHERE is_taken AND place < {count}
)
SELECT bool_and(is_taken) FROM attempt
"""
OVERDUE = """
SELECT DISTINCT l.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s::oid AND l.objid = ANY(%s::bigint[]::oid[])
AND l.objsubid = 1 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND clock_timestamp() - a.xact_start > make_interval(secs => %s)
"""
WRITERS = """
SELECT DISTINCT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND relation = %s::oid AND mode = 'RowExclusiveLock' AND granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND pid IS DISTINCT FROM pg_backend_pid()
"""
ABOVE = """
SELECT id, topic, key, headers, payload FROM eventbus_outbox
WHERE id > %(after)s AND bus = %(bus)s {shards} ORDER BY id LIMIT %(limit)s
"""
RANGES = """
(SELECT o.* FROM unnest(%(firsts)s::bigint[], %(lasts)s::bigint[]) AS r (first, last) CROSS JOIN LATERAL (
    SELECT id, topic, key, headers, payload FROM eventbus_outbox
    WHERE id BETWEEN r.first AND r.last AND bus = %(bus)s {shards} ORDER BY id LIMIT %(limit)s) AS o)
UNION ALL ({above}) ORDER BY id LIMIT %(limit)s
"""
REMOVE = "DELETE FROM eventbus_outbox WHERE id = ANY(%s::bigint[])"
ARCHIVE = f"""
WITH sent AS (DELETE FROM eventbus_outbox WHERE id = ANY(%s::bigint[]) RETURNING id, {TRAVELLING})
INSERT INTO eventbus_sent (id, {TRAVELLING}) SELECT id, {TRAVELLING} FROM sent ON CONFLICT (id) DO NOTHING
"""  # noqa: S608


class RelaySession:
    """Hold the connections of one relay for one share of a bus; used by one thread.

    The second connection listens, so that the first one can hold the locks while both are idle.
    """

    vendor = "postgresql"

    def __init__(self, config: BusConfig, *, shards: Sequence[int], is_listening: bool) -> None:
        self.bus = ControlFlag.objects.using(config.database).bus_number(config.alias)
        self.alias = config.alias
        self.shards = list(shards)
        self.is_archiving = config.outbox.retention is not None
        self._config = config
        if not connections[config.database].in_atomic_block:
            connections[config.database].close()  # it told the number; a relay works for weeks without it
        self._ear: psycopg.Connection[Any] | None = None
        self._work = _connect(config.database)
        try:
            self._prepare()
            if is_listening and (ear := self._listener()) is not None:
                ear.execute(f"LISTEN eventbus_outbox_{self.bus}")
                self._ear = ear
        except BaseException:
            self.close()
            raise

    @property
    def is_listening(self) -> bool:
        return self._ear is not None

    def close(self) -> None:
        for connection in (self._ear, self._work):
            if connection is not None:
                connection.close()

    def leave_to_parent(self) -> None:
        """Close a forked child's copies of the sockets: the server would take them for a parent that lives."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        for connection in (self._ear, self._work):
            if connection is not None and not connection.closed:
                os.dup2(nowhere, connection.fileno())  # so that the goodbye of `close` reaches nobody
                connection.close()
        os.close(nowhere)

    # The bracket of a step

    def begin(self) -> bool:
        """Begin a step and take the share's locks; if another relay has them, the step is over: return False."""
        # One round trip, several statements: what is read under a lock needs a snapshot from after it was taken. The
        # simple protocol, which this is, leaves no open portal, whose snapshot would hold back vacuum while idle.
        results = self._control.execute(self._begin)
        while results.nextset():
            pass
        row = results.fetchone()
        if row is not None and row[0]:
            return True
        self.rollback()
        return False

    def commit(self) -> None:
        self._control.execute("COMMIT")

    def rollback(self) -> None:
        """End a step without effect; a connection that is gone has done so already."""
        if not self._work.closed:
            self._control.execute("ROLLBACK")

    def settling(self) -> AbstractContextManager[None]:
        """Bracket the writes after a flush; here they belong to the step's transaction."""
        return nullcontext()

    def evict_overdue(self, *, grace: float) -> list[int]:
        """End the sessions that have held a lock of this share for longer than `grace` seconds: they are frozen."""
        numbers = [key & 0xFFFFFFFF for key in self._keys]
        pids = [row[0] for row in self.fetch(OVERDUE, [self._table, numbers, grace])]
        for pid in pids:
            self._cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        return pids

    def wait_for_notice(self, *, timeout: float) -> bool:
        """Wait until a publisher tells of new messages; False where nobody did, or where nobody can."""
        if self._ear is None:
            return False
        return any(True for _ in self._ear.notifies(timeout=timeout, stop_after=1))

    # The outbox

    def read(self, *, after: int, ranges: Sequence[tuple[int, int]], limit: int) -> list[OutgoingRow]:
        """Return the first messages of this share above `after` or in one of the ranges, in the order of their ids."""
        values: dict[str, Any] = {"after": after, "bus": self.bus, "limit": limit, "shards": self.shards}
        if not ranges:
            return self.fetch(self._above, values)
        firsts, lasts = zip(*ranges, strict=True)
        return self.fetch(self._ranges, {**values, "firsts": list(firsts), "lasts": list(lasts)})

    def last_id(self) -> int:
        """Return the last id that the outbox has given."""
        return int(self.fetch(self._last_id)[0][0])

    def writers(self) -> Iterator[str]:
        """Name every other transaction that may have an uncommitted message."""
        return (row[0] for row in self.fetch(WRITERS, [self._table]))

    def remove_sent(self, ids: Sequence[int]) -> None:
        """Delete acknowledged messages, by id: a range would take rows that were committed since the read."""
        # As one text: psycopg would dump each number by itself, which costs as much as the server's part.
        self.execute(ARCHIVE if self.is_archiving else REMOVE, ["{" + ",".join(map(str, ids)) + "}"])

    def is_empty(self) -> bool:
        """Say whether nothing of this share waits, but for what is held for a verdict; needs no lock."""
        values = {"bus": self.bus, "shards": self.shards}
        return bool(self.fetch(self._is_empty, values)[0][0])

    def fetch(self, statement: str, values: Any = None) -> list[Any]:
        self._cursor.execute(statement, values, prepare=self._is_preparing)
        return self._cursor.fetchall()

    def execute(self, statement: str, values: Any = None) -> int:
        self._cursor.execute(statement, values, prepare=self._is_preparing)
        return self._cursor.rowcount

    def _prepare(self) -> None:
        self._control = self._work.cursor()
        self._cursor = self._work.cursor(binary=True)
        self._is_preparing = False
        pid, self._table, sequence = self.fetch(
            "SELECT pg_backend_pid(), 'eventbus_outbox'::regclass::oid::bigint,"
            " pg_get_serial_sequence('eventbus_outbox', 'id')"
        )[0]
        # A pooler reports a process id of its own. Behind it, a prepared statement may be another client's.
        self._is_pooled = pid != self._work.info.backend_pid
        self._is_preparing = not self._is_pooled
        self._keys = [_signed(self._table << 32 | self.bus * SHARDS + shard) for shard in self.shards]
        grace = round(self._config.outbox.grace.total_seconds() * 1000)
        lock = LOCK.format(keys=",".join(map(str, self._keys)), count=len(self._keys))
        self._begin = f"{BEGIN.format(grace=grace)};{lock}"
        self._last_id = f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"  # noqa: S608
        shards = "" if len(self.shards) == SHARDS else "AND shard = ANY(%(shards)s::smallint[])"
        self._above = ABOVE.format(shards=shards)
        self._ranges = RANGES.format(shards=shards, above=self._above)
        self._is_empty = f"""
            SELECT NOT EXISTS (SELECT FROM eventbus_outbox WHERE bus = %(bus)s {shards}) AND NOT EXISTS (
                SELECT FROM eventbus_outbox_lane AS l JOIN eventbus_outbox_parked AS p ON p.lane_id = l.id
                WHERE l.bus = %(bus)s {shards.replace("shard", "l.shard", 1)} AND l.available_at < '9999-01-01Z')
            AND NOT EXISTS (SELECT FROM eventbus_scheduled
                WHERE bus = %(bus)s {shards} AND due_at <= statement_timestamp())
        """  # noqa: S608
        self.lanes = RelayLanes(self)
        self.scheduled = RelaySchedule(self, shards=shards)

    def _listener(self) -> psycopg.Connection[Any] | None:
        if alias := self._config.outbox.listen_database:
            return _connect(alias)
        return None if self._is_pooled else _connect(self._config.database)


def _connect(alias: str) -> psycopg.Connection[Any]:
    wrapper: Any = connections[alias]
    parameters = wrapper.get_connection_params()
    for ours in ("cursor_factory", "context", "autocommit", "prepare_threshold"):
        parameters.pop(ours, None)
    connection: psycopg.Connection[Any] = wrapper.Database.connect(
        **parameters, autocommit=True, prepare_threshold=None, application_name="django_eventbus relay"
    )
    if role := wrapper.settings_dict["OPTIONS"].get("assume_role"):
        connection.execute("SELECT set_config('role', %s, false)", [role])
    return connection


def _signed(key: int) -> int:
    return key - (1 << 64) if key >= 1 << 63 else key
