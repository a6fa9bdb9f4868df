"""How much faster are handlers that wait for somebody else when they wait side by side?"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import psycopg

from benchmarks.bench import Bench, median_ratio, require, wait_until
from benchmarks.report import Row
from benchmarks.topics import Topic

from .messages import clear, ready, require_taken, wait_for_owners

CONCURRENCY = 32  # more threads than that take turns at one interpreter
MAX_IN_FLIGHT = 100 * CONCURRENCY  # two units of each thread
OURS = {"waiting": 8_000, "awaiting": 1_500}
SERIAL = 500


def run(bench: Bench) -> list[Row]:
    """Handlers of 2 ms on one partition, different keys: threads, and coroutines."""
    topics = {name: bench.topic(partitions=1) for name in (*OURS, "serial")}
    rates: dict[str, list[float]] = {name: [] for name in topics}
    counts = {**OURS, "serial": SERIAL}
    settings = {"concurrency": str(CONCURRENCY), "max_in_flight": str(MAX_IN_FLIGHT)}
    with (
        bench.command("consume_events", topic=topics["waiting"].name, group="w", handlers="waiting", **settings),
        bench.command("consume_events", topic=topics["awaiting"].name, group="a", handlers="awaiting", **settings),
        bench.child("bare_consumer", topic=topics["serial"].name) as reference,
        bench.connection() as connection,
    ):
        reference.ask("join")
        wait_for_owners(connection, "w", processes=1, partitions=1)
        wait_for_owners(connection, "a", processes=1, partitions=1)
        for round_number in range(bench.rounds + 1):
            for name, topic in topics.items():
                count = counts[name]

                def start(count: int = count) -> None:
                    reference.send("consume", count=count, size=50, style="serially")

                rate = measured(connection, topic, count, start if name == "serial" else None)
                if name == "serial":
                    reference.receive()
                if round_number:
                    rates[name].append(rate)
    for topic in topics.values():
        topic.delete()
    return [row(name, rates[name], rates["serial"]) for name in OURS]


def measured(connection: psycopg.Connection[Any], topic: Topic, count: int, start: Callable[[], None] | None) -> float:
    """Fill a topic, wait until all is in the inbox; return messages a second without the first tenth."""
    inbox = "eventbus_inbox" if start is None else "reference_inbox"
    marks: list[tuple[float, int]] = []

    def is_done() -> bool:
        found = connection.execute(f"SELECT count(*) FROM {inbox}").fetchone()
        assert found is not None
        marks.append((time.monotonic(), found[0]))
        return bool(found[0] >= count)

    clear(connection)
    topic.fill(ready(count))
    if start is not None:
        start()
    wait_until(is_done, f"{count} messages in {inbox}", pause=0.02, patience=300)
    require_taken(connection, inbox, count)
    require(list(range(count)), topic.read_new(), f"records of {topic.name}")
    begun = next(mark for mark in marks if mark[1] >= count / 10)
    return (count - begun[1]) / (marks[-1][0] - begun[0])


def row(name: str, ours: list[float], serial: list[float]) -> Row:
    ratio = median_ratio(ours, serial)
    kind = "threads" if name == "waiting" else "coroutines"
    return Row(
        what=f"handlers of 2 ms on one partition, {CONCURRENCY} {kind} / one after the other",
        ours=f"{median(ours):,.0f} msg/s",
        reference=f"{median(serial):,.0f} msg/s",
        ratio=ratio,
        target=">= 20.0",
        is_met=ratio >= 20,
    )
