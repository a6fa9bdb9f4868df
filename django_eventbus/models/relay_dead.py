"""How does a message that the broker will never take become a dead letter?"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from .dead_letter import DIES_AGAIN, NOW
from .inbox import FOREIGN

# The bytes never pass through Python.
MOVE = """
INSERT INTO eventbus_dead_letter (direction, status, reason, bus, group_name, handler, event_name, event_version,
    message_id, source, correlation_id, tenant_id, topic, position, inbox_key, key, headers, payload, exception_type,
    exception_message, traceback, attempts, times_dead, saga, saga_key, published_at, first_failed_at)
SELECT 'out', 'dead', 'refused_by_broker', %s, '', '', event_name, %s, %s, %s, %s, %s, topic, id, %s, key, %s, payload,
    %s, '', '', %s, 1, %s, %s, created_at, {now}
FROM {table} WHERE id = %s {lanes}
"""
# Two messages published under one id are two dead letters: only the line of one that was replayed is written over.
ONLY_REPLAYED = "WHERE eventbus_dead_letter.status = 'replayed'"
LANES = "AND lane_id IN (SELECT id FROM eventbus_outbox_lane WHERE bus = %s AND shard = %s AND topic = %s)"


class DeadRow(NamedTuple):
    """Be what a dead letter says about a message beyond the columns of the outbox."""

    id: int
    headers: bytes  # dead_letter.pack_headers
    event_version: str
    source: str
    correlation_id: str
    tenant_id: str
    saga: str  # that published it
    saga_key: str


class Session(Protocol):
    """Run statements in the transaction of a step."""

    alias: str
    bus: int
    vendor: str

    def fetch(self, statement: str, values: Any = None) -> list[Any]: ...
    def execute(self, statement: str, values: Any = None) -> int: ...


def bury(
    session: Session, rows: Sequence[DeadRow], *, place: tuple[int, str] | None, code: str, attempts: int
) -> dict[int, int]:
    """Move messages to the dead letters and return the id of each one's dead letter; joins the step's transaction.

    They are in the outbox, or wait in lanes of `place`: a shard and a topic. One that was dead before, was replayed and
    is refused again updates its line: `times_dead` says how often.
    """
    table, lanes, where = "eventbus_outbox", "", []
    if place is not None:
        table, lanes, where = "eventbus_outbox_parked", LANES, [session.bus, *place]
    move = MOVE.format(now=NOW[session.vendor], table=table, lanes=lanes)
    chosen = f"FROM {table} WHERE id IN ({', '.join(['%s'] * len(rows))}) {lanes}"
    values = [*(row.id for row in rows), *where]
    event_ids = dict(session.fetch(f"SELECT id, event_id {chosen}", values))
    buried = {}
    for row in rows:
        if row.id in event_ids:
            message_id = str(_as_uuid(event_ids[row.id]))
            known = (session.alias, row.event_version, message_id, row.source, row.correlation_id, row.tenant_id)
            rest = (row.headers, code, attempts, row.saga, row.saga_key, row.id, *where)
            own = (*known, outbound_key(session.alias, message_id).hex, *rest)
            found = session.fetch(f"{move} {DIES_AGAIN} {ONLY_REPLAYED} RETURNING id", own)
            found = found or session.fetch(f"{move} RETURNING id", (*known, None, *rest))
            buried[row.id] = int(found[0][0])
    session.execute(f"DELETE {chosen}", values)
    return buried


def outbound_key(bus: str, message_id: str) -> UUID:
    """Name an outbound message, so that one that is refused again finds its dead letter."""
    digest = blake2b(f"outbound\0{bus}\0{message_id}".encode(), digest_size=16).digest()
    return UUID(int=int.from_bytes(digest, "big") | FOREIGN)


def _as_uuid(value: UUID | str) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)
