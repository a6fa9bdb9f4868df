"""How many messages a second does a consumer handle: one by one, in lists, in two processes?"""

from __future__ import annotations

from typing import Any

import psycopg

from benchmarks.bench import Bench, rate_row, require
from benchmarks.report import Row

from .messages import clear, ready, require_taken, wait_for_effects, wait_for_owners

SINGLE = 3_000
LISTED = 20_000
PROCESSES = 4_000
RATE = """
WITH ranked AS (SELECT at, row_number() OVER (ORDER BY at) AS place, count(*) OVER () AS total FROM shop_effect)
SELECT (total * 0.9) / extract(epoch FROM max(at) - min(at)) FROM ranked WHERE place >= total * 0.1 GROUP BY total
"""


def run_single(bench: Bench) -> list[Row]:
    """One ORM insert a message, inbox on, one process."""
    ours, bare = compare(bench, handlers="single", count=SINGLE, size=50, style="one_by_one")
    return [
        rate_row(
            "consume, one ORM insert a message / hand-written loop, units of 50",
            ours,
            bare,
            unit="msg/s",
            at_least=0.70,
        )
    ]


def run_batch(bench: Bench) -> list[Row]:
    """A batch handler of 500."""
    ours, bare = compare(bench, handlers="listed", count=LISTED, size=500, style="in_bulk")
    return [rate_row("consume, batch handler / hand-written bulk loop of 500", ours, bare, unit="msg/s", at_least=0.60)]


def run_processes(bench: Bench) -> list[Row]:
    """The same group with one process and with two."""
    topics = {1: bench.topic(), 2: bench.topic()}
    rates: dict[int, list[float]] = {1: [], 2: []}
    one = {"topic": topics[1].name, "group": "bench-one", "handlers": "single"}
    two = {"topic": topics[2].name, "group": "bench-two", "handlers": "single"}
    with (
        bench.command("consume_events", **one) as alone,
        bench.command("consume_events", "--processes", "2", **two) as pair,
        bench.connection() as connection,
    ):
        wait_for_owners(connection, "bench-one", processes=1)
        wait_for_owners(connection, "bench-two", processes=2)
        for round_number in range(bench.rounds + 1):
            for processes, command in ((1, alone), (2, pair)):
                clear(connection)
                topics[processes].fill(ready(PROCESSES))
                wait_for_effects(connection, PROCESSES, require_alive=command.require_alive)
                require_taken(connection, "eventbus_inbox", PROCESSES)
                require(list(range(PROCESSES)), topics[processes].read_new(), f"records of {topics[processes].name}")
                if round_number:
                    rates[processes].append(rate_of(connection))
    for topic in topics.values():
        topic.delete()
    return [rate_row("consume, two processes / one", rates[2], rates[1], unit="msg/s", at_least=1.70)]


def compare(bench: Bench, *, handlers: str, count: int, size: int, style: str) -> tuple[list[float], list[float]]:
    """Let our consumer and a hand-written one handle the same messages in turn; return their rates."""
    topics = {"ours": bench.topic(), "bare": bench.topic()}
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    group = f"bench-{handlers}"
    with (
        bench.command("consume_events", topic=topics["ours"].name, group=group, handlers=handlers) as command,
        bench.child("bare_consumer", topic=topics["bare"].name) as reference,
        bench.connection() as connection,
    ):
        reference.ask("join")
        wait_for_owners(connection, group, processes=1)
        for round_number in range(bench.rounds + 1):
            for name, topic in topics.items():
                clear(connection)
                topic.fill(ready(count))
                if name == "bare":
                    reference.ask("consume", count=count, size=size, style=style)
                wait_for_effects(connection, count, require_alive=command.require_alive)
                require_taken(connection, "eventbus_inbox" if name == "ours" else "reference_inbox", count)
                require(list(range(count)), topic.read_new(), f"records of {topic.name}")
                if round_number:  # the first one warms up
                    rates[name].append(rate_of(connection))
    for topic in topics.values():
        topic.delete()
    return rates["ours"], rates["bare"]


def rate_of(connection: psycopg.Connection[Any]) -> float:
    """Return effects a second, by the server's clock, without the first tenth."""
    found = connection.execute(RATE).fetchone()
    assert found is not None
    return float(found[0])
