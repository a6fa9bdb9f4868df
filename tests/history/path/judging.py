"""Was every committed event handled once by each handler, in its key's order, and nothing else?

The judge asks the database, so that a million events take it a minute and no memory of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import psycopg

SHOWN = 20  # of each kind
EFFECTS = "SELECT h.name, e.* FROM path_effect AS e JOIN path_handler AS h ON h.number = e.handler"
FINDINGS = (
    (
        "lost",  # on its way to the broker
        """
        SELECT format('record %s %s/%s', c.event_id, c.key, c.number) FROM path_committed AS c
        LEFT JOIN path_record AS r USING (topic, event_id) WHERE r.event_id IS NULL
        """,
    ),
    (
        "lost",
        """
        SELECT format('%s %s %s/%s', h.name, c.event_id, c.key, c.number)
        FROM path_committed AS c JOIN path_handler AS h USING (topic)
        LEFT JOIN path_effect AS e ON e.handler = h.number AND e.event_id = c.event_id
        LEFT JOIN path_buried AS b ON b.handler = h.number AND b.event_id = c.event_id
        WHERE e.event_id IS NULL AND b.event_id IS NULL
        """,
    ),
    (
        "repeated",
        f"""
        SELECT format('%s %s %s/%s, %s times', name, event_id, key, number, count(*)) FROM ({EFFECTS}) AS e
        GROUP BY name, event_id, key, number HAVING count(*) > 1
        """,
    ),
    (
        "invented",
        """
        SELECT DISTINCT format('record %s of topic %s, %s/%s', r.event_id, r.topic, r.key, r.number)
        FROM path_record AS r LEFT JOIN path_committed AS c USING (topic, event_id) WHERE c.topic IS NULL
        """,
    ),
    (
        "invented",
        f"""
        SELECT format('effect of %s %s %s/%s', e.name, e.event_id, e.key, e.number) FROM ({EFFECTS}) AS e
        LEFT JOIN path_committed AS c USING (event_id) WHERE c.topic IS NULL
        """,
    ),
    (
        "invented",
        """
        SELECT DISTINCT format('run of %s %s', h.name, r.event_id)
        FROM path_run AS r JOIN path_handler AS h ON h.number = r.handler
        LEFT JOIN path_committed AS c USING (event_id) WHERE c.topic IS NULL
        """,
    ),
    (
        "inverted",  # each run must have seen exactly its predecessor
        """
        SELECT format('%s %s/%s saw %s, not %s', name, key, number, previous, expected)
        FROM (SELECT h.name, e.key, e.number, e.previous,
                lag(e.number, 1, 0) OVER (PARTITION BY e.handler, e.key ORDER BY e.number) AS expected
            FROM path_effect AS e JOIN path_handler AS h ON h.number = e.handler AND h.is_ordered) AS seen
        WHERE previous <> expected
        """,
    ),
    (
        "inverted",  # in the broker's log, where the first appearance counts
        """
        SELECT format('record of topic %s %s/%s stands behind %s, not %s', topic, key, number, before, expected)
        FROM (SELECT topic, key, number,
                lag(number, 1, 0) OVER (PARTITION BY topic, key ORDER BY number) AS expected,
                lag(number, 1, 0) OVER (PARTITION BY topic, key ORDER BY partition, min(position)) AS before
            FROM path_record GROUP BY topic, partition, key, number) AS stands
        WHERE before <> expected
        """,
    ),
    (
        "unexpected",
        """
        SELECT format('dead letter of %s %s (%s)', b.name, b.event_id, b.reason) FROM path_buried AS b
        LEFT JOIN path_committed AS c USING (event_id)
        LEFT JOIN path_doomed AS d ON d.handler = b.handler AND d.key = c.key AND d.number = c.number
        WHERE d.handler IS NULL
        """,
    ),
    (
        "unexpected",
        f"""
        SELECT format('effect of %s %s %s/%s, which always fails', name, event_id, key, number)
        FROM ({EFFECTS}) AS e JOIN path_doomed AS d USING (handler, key, number)
        """,
    ),
    (
        "unexpected",
        f"""
        SELECT format('effect of %s %s %s/%s without a run', name, event_id, key, number) FROM ({EFFECTS}) AS e
        WHERE NOT EXISTS (SELECT FROM path_run AS r WHERE r.handler = e.handler AND r.event_id = e.event_id)
        """,
    ),
    (
        "unexpected",  # the log must be sound itself
        """
        SELECT format('key %s counts %s, not %s', c.key, c.value, count(p.key)) FROM path_counter AS c
        LEFT JOIN path_published AS p USING (key) GROUP BY c.key, c.value
        HAVING c.value <> count(p.key) OR c.value <> count(DISTINCT p.number) OR c.value <> coalesce(max(p.number), 0)
        """,
    ),
)
COUNTS = {
    "committed": "SELECT count(*) FROM path_published",
    "effects": "SELECT count(*) FROM path_effect",
    "dead": "SELECT count(*) FROM path_buried",
    "retried": "SELECT count(*) FROM path_effect WHERE attempt > 1",
    "records": "SELECT count(*) FROM path_record",
    "repeated_records": "SELECT count(*) - count(DISTINCT event_id) FROM path_record",
    "runs": "SELECT count(*) FROM path_run",
    "repeated_runs": "SELECT count(*) - count(DISTINCT (handler, event_id, attempt)) FROM path_run",
}


@dataclass(kw_only=True)
class Verdict:
    """What is wrong: the lists show some of it, `found` says how much of each there is."""

    committed: int = 0
    effects: int = 0
    dead: int = 0
    retried: int = 0  # effects of a later attempt
    records: int = 0  # in both topics
    repeated_records: int = 0  # allowed where relays were harmed: at least once
    runs: int = 0  # of handlers, also those that were rolled back or killed
    repeated_runs: int = 0  # of the same attempt: allowed where consumers were harmed
    found: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)  # seen by a handler or the broker, but never committed
    inverted: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)  # dead letters outside of the plan, effects that should fail

    @property
    def is_clean(self) -> bool:
        return not self.found

    @property
    def is_without_repeats(self) -> bool:
        return not (self.repeated_records or self.repeated_runs)


def judge(session: psycopg.Connection[Any]) -> Verdict:
    """Hold everything against everything; needs the tables of `evidence.gather`."""
    session.execute("SET work_mem = '256MB'")
    verdict = Verdict()
    for name, query in COUNTS.items():
        setattr(verdict, name, _number(session, query))
    for kind, query in FINDINGS:
        rows = session.execute(f"SELECT line, count(*) OVER () FROM ({query}) AS f (line) LIMIT {SHOWN}").fetchall()
        if rows:
            verdict.found[kind] = verdict.found.get(kind, 0) + rows[0][1]
            getattr(verdict, kind).extend(line for line, _ in rows)
    return verdict


def _number(session: psycopg.Connection[Any], query: str) -> int:
    row = session.execute(query).fetchone()
    assert row is not None
    return int(row[0])
