"""How many steps a second do sagas take, beside a plain handler that updates one row?"""

from __future__ import annotations

from typing import Any

import psycopg

from benchmarks.bench import Bench, rate_row, require, wait_until
from benchmarks.report import Row
from benchmarks.shop.events import KEYS

from .messages import ready, wait_for_owners

COUNT = 3_000
TABLES = "eventbus_inbox, eventbus_saga_history"
RATE = """
WITH ranked AS (SELECT received_at AS at, row_number() OVER (ORDER BY received_at) AS place, count(*) OVER () AS total
                FROM eventbus_inbox)
SELECT (total * 0.9) / extract(epoch FROM max(at) - min(at)) FROM ranked WHERE place >= total * 0.1 GROUP BY total
"""
ORDERS = "INSERT INTO shop_order (id, reference, total, state) SELECT n, n, 0, '' FROM generate_series(1, %s) n"
STEPS = "SELECT count(*), sum(version), sum((state::json->>'steps')::int) FROM eventbus_saga_state"


def run(bench: Bench) -> list[Row]:
    """One step a message, in units of 50, on instances that are there already; the same for the plain handler."""
    topics = {"saga": bench.topic(), "plain": bench.topic()}
    rates: dict[str, list[float]] = {"saga": [], "plain": []}
    groups = {"saga": ("bench-saga", "stepping"), "plain": ("bench-plain", "updating")}
    with bench.connection() as connection:
        connection.execute("TRUNCATE shop_order, eventbus_saga_state")
        connection.execute(ORDERS, [KEYS])
        for round_number in range(bench.rounds + 1):
            for name, (group, handlers) in groups.items():
                connection.execute(f"TRUNCATE {TABLES}")
                connection.execute("CHECKPOINT")
                with bench.command(
                    "consume_events", topic=topics[name].name, group=group, handlers=handlers
                ) as command:
                    wait_for_owners(connection, group, processes=1)
                    topics[name].fill(ready(COUNT))
                    wait_for_messages(connection, command)
                if round_number:  # the first one makes the instances
                    rates[name].append(rate_of(connection))
            steps = (round_number + 1) * COUNT
            require((KEYS, steps, steps), connection.execute(STEPS).fetchone(), "instances, versions, steps")
    for topic in topics.values():
        topic.delete()
    return [
        rate_row(
            "saga steps / a handler with one ORM update", rates["saga"], rates["plain"], unit="msg/s", at_least=0.50
        )
    ]


def wait_for_messages(connection: psycopg.Connection[Any], command: Any) -> None:
    def are_there() -> bool:
        command.require_alive()
        found = connection.execute("SELECT count(*) FROM eventbus_inbox").fetchone()
        return found is not None and found[0] >= COUNT

    wait_until(are_there, f"{COUNT} messages", patience=300, pause=0.1)
    for table in ("eventbus_retry", "eventbus_dead_letter"):
        require((0,), connection.execute(f"SELECT count(*) FROM {table}").fetchone(), f"rows in {table}")


def rate_of(connection: psycopg.Connection[Any]) -> float:
    """Return messages a second, by the server's clock, without the first tenth."""
    found = connection.execute(RATE).fetchone()
    assert found is not None
    return float(found[0])
