"""How does the relay find what has fallen due and move it into the outbox, so that nothing is moved and cancelled?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from django.db import connections, models
from django.utils import timezone

from .scheduled import ScheduledMessage

if TYPE_CHECKING:
    from .relay_plain import PlainSession

COLUMNS = "event_id, event_name, bus, shard, topic, key, headers, payload"
BEGINNING = datetime(1, 1, 1, tzinfo=UTC)

NEXT = """
SELECT extract(epoch FROM due_at - clock_timestamp())::float8 FROM eventbus_scheduled
WHERE bus = %(bus)s {shards} AND due_at >= %(since)s ORDER BY due_at, id LIMIT 1
"""
# What a transaction is cancelling or putting off at this moment is passed over: its end decides, and a later look finds
# what is left of it. Waiting for it would stop the relay for as long as somebody's transaction stays open.
MOVE = f"""
WITH due AS (
    DELETE FROM eventbus_scheduled WHERE id = ANY(ARRAY(
        SELECT id FROM eventbus_scheduled
        WHERE bus = %(bus)s {{shards}} AND due_at >= %(since)s AND due_at <= statement_timestamp()
        ORDER BY due_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
    RETURNING id, due_at, {COLUMNS}
), moved AS (
    INSERT INTO eventbus_outbox ({COLUMNS}) SELECT {COLUMNS} FROM due ORDER BY due_at, id RETURNING 1
)
SELECT (SELECT count(*) FROM moved), (SELECT max(due_at) FROM due)
"""  # noqa: S608
PLAIN_MOVE = f"""
INSERT INTO eventbus_outbox ({COLUMNS}) SELECT {COLUMNS} FROM eventbus_scheduled WHERE id IN ({{places}})
ORDER BY due_at, id
"""  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Say how many messages were moved, and which was the latest of their moments."""

    count: int
    reached: datetime | None


class Session(Protocol):
    """Run statements in the transaction of a step."""

    bus: int
    shards: list[int]

    def fetch(self, statement: str, values: Any = None) -> list[Any]: ...
    def execute(self, statement: str, values: Any = None) -> int: ...


class RelaySchedule:
    """Move what is due on PostgreSQL, under the locks of its shards: so the messages of a key keep their order."""

    def __init__(self, session: Session, *, shards: str) -> None:
        self._session = session
        self._next, self._move = NEXT.format(shards=shards), MOVE.format(shards=shards)

    def next_due(self, *, since: datetime) -> float | None:
        """Return the seconds until the first message from a moment on is due; None where none waits."""
        rows = self._session.fetch(self._next, self._values(since))
        return rows[0][0] if rows else None

    def move(self, *, since: datetime, limit: int) -> Moved:
        """Move the first due messages from a moment on; they may be sent once this has committed, and not before."""
        # The commit must be durable: else, after a crash, a message that was sent would wait again, to be cancelled.
        self._session.execute("SET LOCAL synchronous_commit = on")
        count, reached = self._session.fetch(self._move, {**self._values(since), "limit": limit})[0]
        return Moved(count=count, reached=reached)

    def _values(self, since: datetime) -> dict[str, Any]:
        return {"bus": self._session.bus, "shards": self._session.shards, "since": since}


class PlainSchedule:
    """Move what is due through Django's own connection, where nobody else relays."""

    def __init__(self, session: PlainSession) -> None:
        self._session = session

    def next_due(self, *, since: datetime) -> float | None:
        rows = self._rows().filter(due_at__gte=since).order_by("due_at", "id")
        due_at = rows.values_list("due_at", flat=True).first()
        return None if due_at is None else (due_at - timezone.now()).total_seconds()

    def move(self, *, since: datetime, limit: int) -> Moved:
        due = self._rows().filter(due_at__gte=since, due_at__lte=timezone.now()).order_by("due_at", "id")
        found = list(due.select_for_update().values_list("id", "due_at")[:limit])
        if not found:
            return Moved(count=0, reached=None)
        ids = [id_ for id_, _ in found]
        with connections[self._session.using].cursor() as cursor:
            cursor.execute(PLAIN_MOVE.format(places=", ".join(["%s"] * len(ids))), ids)
        self._rows().filter(id__in=ids).delete()
        return Moved(count=len(ids), reached=found[-1][1])

    def is_due(self) -> bool:
        return self._rows().filter(due_at__lte=timezone.now()).exists()

    def _rows(self) -> models.QuerySet[ScheduledMessage]:
        return ScheduledMessage.objects.using(self._session.using).filter(bus=self._session.bus)
