"""How do messages of a key, or of a whole topic, wait aside and leave again, on PostgreSQL?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, Protocol

from django_eventbus.events.envelope import OutgoingRow

from .outbox import HELD_UNTIL
from .relay_dead import DeadRow, bury

TRAVELLING = "event_id, event_name, bus, shard, topic, key, headers, payload, created_at"

# Who waits longest comes first. Of those that are not due, a few tell whether these are all there are.
WAITING = """
(SELECT id, shard, topic, whole, key, attempts, true, false, head_id FROM eventbus_outbox_lane
WHERE bus = %(bus)s AND shard = ANY(%(shards)s::smallint[]) AND available_at <= statement_timestamp()
ORDER BY available_at, id LIMIT %(limit)s)
UNION ALL
(SELECT id, shard, topic, whole, key, attempts, false, available_at >= %(held)s, head_id FROM eventbus_outbox_lane
WHERE bus = %(bus)s AND shard = ANY(%(shards)s::smallint[]) AND available_at > statement_timestamp()
ORDER BY available_at, id LIMIT %(few)s)
"""
# What has no key has no order: it waits for its topic only.
BEHIND = """
SELECT o.id FROM eventbus_outbox AS o WHERE o.id = ANY(%(ids)s::bigint[]) AND (
    EXISTS (SELECT FROM eventbus_outbox_lane AS k WHERE k.bus = o.bus AND k.shard = o.shard AND k.topic = o.topic
        AND NOT k.whole AND k.key = o.key AND o.key <> '')
    OR EXISTS (SELECT FROM eventbus_outbox_lane AS w WHERE w.bus = o.bus AND w.topic = o.topic AND w.whole
        AND w.shard = ANY(%(shards)s::smallint[])))
"""
PARKED = """
SELECT l.id, p.id, p.topic, p.key, p.headers, p.payload
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS l (id, head_id, take) CROSS JOIN LATERAL (
    SELECT * FROM eventbus_outbox_parked WHERE lane_id = l.id AND id > l.head_id ORDER BY id LIMIT l.take) AS p
ORDER BY p.id
"""
OPEN = """
INSERT INTO eventbus_outbox_lane (bus, shard, topic, whole, key, reason, attempts, available_at, head_id)
SELECT DISTINCT bus, shard, topic, %(whole)s::boolean,
    CASE WHEN %(whole)s::boolean THEN ''::bytea ELSE coalesce(key, '') END, %(reason)s::text, %(attempts)s::integer,
    CASE WHEN %(wait)s::float8 IS NULL THEN %(held)s
         ELSE statement_timestamp() + make_interval(secs => %(wait)s::float8) END,
    0 FROM {table} WHERE id = ANY(%(ids)s::bigint[])
ON CONFLICT (bus, shard, topic, whole, key) DO NOTHING
"""
# A topic that waits has a lane in each shard that has met one of its messages.
FOLLOW = """
INSERT INTO eventbus_outbox_lane (bus, shard, topic, whole, key, reason, attempts, available_at, head_id)
SELECT DISTINCT o.bus, o.shard, o.topic, true, ''::bytea, l.reason, 0, l.available_at, 0
FROM eventbus_outbox AS o CROSS JOIN LATERAL (SELECT reason, available_at FROM eventbus_outbox_lane AS w
    WHERE w.bus = o.bus AND w.topic = o.topic AND w.whole ORDER BY w.id LIMIT 1) AS l
WHERE o.id = ANY(%(ids)s::bigint[]) AND NOT EXISTS (SELECT FROM eventbus_outbox_lane AS k WHERE k.bus = o.bus
    AND k.shard = o.shard AND k.topic = o.topic AND NOT k.whole AND k.key = coalesce(o.key, ''))
ON CONFLICT (bus, shard, topic, whole, key) DO NOTHING
"""
# A key's own lane comes before its topic's: a key waits in one place only, else one part would overtake the other.
# Only what has found its lane is deleted: a row without one stays where it is.
MOVE = f"""
WITH pair AS (
    SELECT o.id, l.id AS lane_id FROM eventbus_outbox AS o CROSS JOIN LATERAL (SELECT coalesce(
        (SELECT id FROM eventbus_outbox_lane AS k WHERE k.bus = o.bus AND k.shard = o.shard AND k.topic = o.topic
            AND NOT k.whole AND k.key = coalesce(o.key, '')),
        (SELECT id FROM eventbus_outbox_lane AS w WHERE w.bus = o.bus AND w.shard = o.shard AND w.topic = o.topic
            AND w.whole AND w.key = ''))) AS l (id)
    WHERE o.id = ANY(%(ids)s::bigint[]) AND l.id IS NOT NULL
), moved AS (
    DELETE FROM eventbus_outbox WHERE id IN (SELECT id FROM pair) RETURNING id, {TRAVELLING}
), head AS (
    UPDATE eventbus_outbox_lane AS l SET head_id = first.id - 1
    FROM (SELECT lane_id, min(id) AS id FROM pair GROUP BY lane_id) AS first
    WHERE l.id = first.lane_id AND l.head_id >= first.id
)
INSERT INTO eventbus_outbox_parked (lane_id, id, {TRAVELLING})
SELECT lane_id, id, {TRAVELLING} FROM moved JOIN pair USING (id) RETURNING id
"""  # noqa: S608
SPLIT = """
WITH own AS (SELECT p.id, k.id AS lane_id FROM eventbus_outbox_parked AS p JOIN eventbus_outbox_lane AS k
    ON k.bus = p.bus AND k.shard = p.shard AND k.topic = p.topic AND NOT k.whole AND k.key = coalesce(p.key, '')
    WHERE p.lane_id = %(lane)s)
UPDATE eventbus_outbox_parked AS p SET lane_id = own.lane_id FROM own WHERE p.lane_id = %(lane)s AND p.id = own.id
"""
REMOVE = "DELETE FROM eventbus_outbox_parked WHERE lane_id = ANY(%(lanes)s::bigint[]) AND id = ANY(%(ids)s::bigint[])"
ARCHIVE = f"""
WITH sent AS ({REMOVE} RETURNING id, {TRAVELLING})
INSERT INTO eventbus_sent (id, {TRAVELLING}) SELECT id, {TRAVELLING} FROM sent ON CONFLICT (id) DO NOTHING
"""  # noqa: S608
POSTPONE = """
UPDATE eventbus_outbox_lane SET reason = %(reason)s, attempts = %(attempts)s, head_id = %(head)s,
    available_at = CASE WHEN %(wait)s::float8 IS NULL THEN %(held)s
                   ELSE clock_timestamp() + make_interval(secs => %(wait)s::float8) END
WHERE id = %(lane)s
"""
CLOSE = """
WITH still AS (SELECT DISTINCT lane_id FROM eventbus_outbox_parked WHERE lane_id = ANY(%(lanes)s::bigint[])),
again AS (UPDATE eventbus_outbox_lane SET head_id = 0 WHERE id IN (SELECT lane_id FROM still))
DELETE FROM eventbus_outbox_lane WHERE id = ANY(%(lanes)s::bigint[]) AND id NOT IN (SELECT lane_id FROM still)
"""


FEW = 50  # lanes that are not due, which a step holds in its memory; beyond it asks for the messages that it has read


class Lane(NamedTuple):
    """Be a key, or a topic in one shard, whose messages wait."""

    id: int
    shard: int
    topic: str
    is_whole: bool
    key: bytes
    attempts: int
    is_due: bool
    is_held: bool
    head_id: int

    @property
    def is_probing(self) -> bool:
        """Say whether one message must get through alone before the others follow."""
        return self.attempts > 0 or self.head_id == 0


class Waiting(NamedTuple):
    """Be the lanes that a step has to know: those that are due first, and a few others."""

    lanes: list[Lane]
    behind: Callable[[Sequence[int]], Collection[int]] | None = None  # which outbox messages wait; None: `lanes` tell


class ParkedRow(NamedTuple):
    """Be one parked message and the lane in which it waits."""

    lane_id: int
    row: OutgoingRow


class Session(Protocol):
    """Run statements in the transaction of a step."""

    alias: str
    bus: int
    vendor: str
    shards: list[int]
    is_archiving: bool

    def fetch(self, statement: str, values: Any = None) -> list[Any]: ...
    def execute(self, statement: str, values: Any = None) -> int: ...


class RelayLanes:
    """Read and move what waits aside; every verb runs inside a step, under the locks of its shards."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def waiting(self, *, limit: int) -> Waiting:
        """Return lanes of this share: at most `limit` that are due, and the next few of the others.

        Keys can wait by the hundred thousand, and a relay takes many steps a second.
        """
        values = {"bus": self._session.bus, "shards": self._session.shards, "held": HELD_UNTIL}
        rows = self._session.fetch(WAITING, {**values, "limit": limit, "few": FEW})
        lanes = [Lane(*row) for row in rows]
        due = sum(lane.is_due for lane in lanes)
        return Waiting(lanes, None if due < limit and len(lanes) - due < FEW else self._behind)

    def read(self, takes: Sequence[tuple[Lane, int]]) -> list[ParkedRow]:
        """Return the first messages of each lane behind its head, at most as many as is said beside it."""
        heads = [[lane.id for lane, _ in takes], [lane.head_id for lane, _ in takes], [take for _, take in takes]]
        return [ParkedRow(row[0], row[1:]) for row in self._session.fetch(PARKED, heads)]

    def park(self, ids: Sequence[int], *, reason: str, is_whole: bool, attempts: int, wait: float | None) -> list[int]:
        """Open the lanes of these outbox messages and move them there; no `wait` means until a verdict."""
        self._open("eventbus_outbox", ids, reason=reason, is_whole=is_whole, attempts=attempts, wait=wait)
        return [row[0] for row in self._session.fetch(MOVE, {"ids": ids})]

    def hold(self, ids: Sequence[int], *, reason: str) -> None:
        """Open a lane that waits for a verdict for the key of each of these outbox messages."""
        self._open("eventbus_outbox", ids, reason=reason, is_whole=False, attempts=1, wait=None)

    def join(self, ids: Sequence[int]) -> list[int]:
        """Move outbox messages behind those of their key or topic that already wait; return who was moved."""
        self._session.execute(FOLLOW, {"ids": ids})
        return [row[0] for row in self._session.fetch(MOVE, {"ids": ids})]

    def split(self, lane: Lane, ids: Sequence[int], *, reason: str, attempts: int, wait: float | None) -> None:
        """Give the keys of these messages, which wait with their topic, lanes of their own, with all that is theirs."""
        self._open("eventbus_outbox_parked", ids, reason=reason, is_whole=False, attempts=attempts, wait=wait)
        self._session.execute(SPLIT, {"lane": lane.id})

    def remove_sent(self, rows: Sequence[ParkedRow]) -> None:
        values = {"lanes": list({parked.lane_id for parked in rows}), "ids": [parked.row[0] for parked in rows]}
        self._session.execute(ARCHIVE if self._session.is_archiving else REMOVE, values)

    def advance(self, lane: Lane, *, head_id: int) -> None:
        """Note that everything up to an id has left the lane and that the rest may follow in batches."""
        statement = "UPDATE eventbus_outbox_lane SET attempts = 0, head_id = %s WHERE id = %s"
        self._session.execute(statement, [head_id, lane.id])

    def postpone(self, lane: Lane, *, reason: str, attempts: int, head_id: int, wait: float | None) -> None:
        """Let the lane wait again; no `wait` means until a verdict."""
        values = {"lane": lane.id, "reason": reason, "attempts": attempts, "head": head_id, "wait": wait}
        self._session.execute(POSTPONE, {**values, "held": HELD_UNTIL})

    def close(self, lanes: Sequence[Lane]) -> None:
        """Delete lanes in which nothing waits any more."""
        self._session.execute(CLOSE, {"lanes": [lane.id for lane in lanes]})

    def bury(self, lane: Lane | None, rows: Sequence[DeadRow], *, code: str) -> dict[int, int]:
        """Move messages of the outbox, or of a lane, to the dead letters; return the id of each one's dead letter."""
        place = None if lane is None else (lane.shard, lane.topic)
        return bury(self._session, rows, place=place, code=code, attempts=1 if lane is None else lane.attempts + 1)

    def _behind(self, ids: Sequence[int]) -> list[int]:
        values = {"ids": "{" + ",".join(map(str, ids)) + "}", "shards": self._session.shards}
        return [row[0] for row in self._session.fetch(BEHIND, values)]

    def _open(
        self, table: str, ids: Sequence[int], *, reason: str, is_whole: bool, attempts: int, wait: float | None
    ) -> None:
        values = {"ids": ids, "reason": reason, "whole": is_whole, "attempts": attempts, "wait": wait}
        self._session.execute(OPEN.format(table=table), {**values, "held": HELD_UNTIL})
