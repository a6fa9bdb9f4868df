"""Where does a run write down what happens? In tables of its own, in the transaction of what happens."""

from __future__ import annotations

from typing import NamedTuple

from tests.history.path.events import ECHO_EVERY

KEYS = 240
STEPS, ECHOES = 1, 2  # topics


class Handler(NamedTuple):
    """How a handler stands in the log."""

    number: int
    topic: int
    is_ordered: bool


HANDLERS = {
    "path.ordered": Handler(1, STEPS, True),
    "path.listed": Handler(2, STEPS, True),
    "path.echo": Handler(3, ECHOES, True),
    "path.aside": Handler(4, ECHOES, False),
}
# Only the statistics of a table that nobody vacuums or analyses count exactly what was committed.
TABLES = f"""
CREATE TABLE path_counter (key int PRIMARY KEY, value int NOT NULL) WITH (fillfactor = 20);
INSERT INTO path_counter SELECT g, 0 FROM generate_series(0, {KEYS - 1}) AS g;
CREATE TABLE path_published (event_id uuid NOT NULL, key int NOT NULL, number int NOT NULL)
    WITH (autovacuum_enabled = false);
CREATE TABLE path_effect (id bigserial, handler smallint NOT NULL, event_id uuid NOT NULL, key int NOT NULL,
    number int NOT NULL, previous int NOT NULL, attempt int NOT NULL, owner int NOT NULL,
    at timestamptz DEFAULT clock_timestamp()) WITH (autovacuum_enabled = false);
CREATE INDEX ON path_effect (handler, key, number)
"""
# Runs of handlers that each committed event comes to: two, and two for the echo of every fifth.
RUNS = 2 + 2 / ECHO_EVERY
COUNTED = """
SELECT coalesce(max(n_live_tup) FILTER (WHERE relname = 'path_published'), 0),
    coalesce(max(n_live_tup) FILTER (WHERE relname = 'path_effect'), 0),
    (SELECT count(*) FROM eventbus_dead_letter)
FROM pg_stat_user_tables
"""
EXACTLY = f"""
SELECT (SELECT count(*) FROM path_published),
    (SELECT count(*) FROM path_effect) + (SELECT count(*) FROM eventbus_dead_letter),
    2 * (SELECT count(*) FROM path_published)
        + 2 * (SELECT count(*) FROM path_effect WHERE handler = 1 AND number % {ECHO_EVERY} = 0)
"""
LEFT = """
SELECT (SELECT count(*) FROM eventbus_outbox) + (SELECT count(*) FROM eventbus_outbox_parked)
    + (SELECT count(*) FROM eventbus_retry)
"""
