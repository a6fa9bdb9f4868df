"""How does a message that the broker will never take become a dead letter, on PostgreSQL?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

BURY = """
WITH dead AS (
    DELETE FROM {table} WHERE id = ANY(%(ids)s::bigint[]) {lane}
    RETURNING id, event_id, event_name, topic, key, payload, created_at
)
INSERT INTO eventbus_dead_letter (
    direction, status, reason, bus, group_name, handler, event_name, event_version, message_id, source,
    correlation_id, tenant_id, topic, position, key, headers, payload,
    exception_type, exception_message, traceback, attempts, times_dead, published_at, first_failed_at
)
SELECT 'out', 'dead', 'refused_by_broker', %(bus)s, '', '', dead.event_name, known.event_version,
    dead.event_id::text, known.source, known.correlation_id, known.tenant_id, dead.topic, dead.id, dead.key,
    known.headers, dead.payload, %(code)s, '', '', %(attempts)s, 1, dead.created_at, clock_timestamp()
FROM dead JOIN unnest(%(ids)s::bigint[], %(headers)s::bytea[], %(versions)s::text[], %(sources)s::text[],
    %(correlations)s::text[], %(tenants)s::text[])
    AS known (id, headers, event_version, source, correlation_id, tenant_id) USING (id)
ORDER BY dead.id RETURNING position, id
"""
LANES = """
    AND lane_id IN (
        SELECT id FROM eventbus_outbox_lane WHERE bus = %(number)s AND shard = %(shard)s AND topic = %(topic)s)
"""


class DeadRow(NamedTuple):
    """Be what a dead letter says about a message beyond the columns of the outbox."""

    id: int
    headers: bytes  # dead_letter.pack_headers
    event_version: str
    source: str
    correlation_id: str
    tenant_id: str


class Session(Protocol):
    """Run statements in the transaction of a step."""

    alias: str
    bus: int

    def fetch(self, statement: str, values: Any = None) -> list[Any]: ...


def bury(
    session: Session, rows: Sequence[DeadRow], *, place: tuple[int, str] | None, code: str, attempts: int
) -> dict[int, int]:
    """Move messages to the dead letters and return the id of each one's dead letter.

    They are in the outbox, or wait in lanes of `place`: a shard and a topic.
    """
    ids, headers, versions, sources, correlations, tenants = map(list, zip(*rows, strict=True))
    values = {
        "ids": ids,
        "headers": headers,
        "versions": versions,
        "sources": sources,
        "correlations": correlations,
        "tenants": tenants,
        "bus": session.alias,
        "number": session.bus,
        "code": code,
        "attempts": attempts,
    }
    if place is None:
        return dict(session.fetch(BURY.format(table="eventbus_outbox", lane=""), values))
    statement = BURY.format(table="eventbus_outbox_parked", lane=LANES)
    return dict(session.fetch(statement, {**values, "shard": place[0], "topic": place[1]}))
