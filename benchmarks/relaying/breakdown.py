"""Where does the time of a drained row go: SQL, Python, the Kafka client, the servers?"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

import psutil
import psycopg

from benchmarks.bench import Bench, require
from benchmarks.children import Child
from benchmarks.report import Row
from benchmarks.topics import Topic
from tests.services import run as services

from . import draining

ROWS = 100_000
PARTS = {
    "read": "SELECT: psycopg makes five values of each row",
    "split": "headers: one text is split into pairs",
    "produce": "produce: a callback, the client's call, which copies the row",
    "flush": "flush: delivery reports, a callback each",
    "delete": "DELETE: ids as one text",
    "rest": "locks, lanes, schedule, commit, the loop itself, and the start",
    "others": "threads of the Kafka client: batches, compression, sockets",
    "postgres": "PostgreSQL: all processes",
    "kafka": "Kafka: the broker",
}


def run(bench: Bench) -> list[Row]:
    """Take the processor time of each part of a drain; it hardly depends on what else the machine has to do."""
    count = bench.scaled(ROWS)
    topic = bench.topic()
    found: list[dict[str, float]] = []
    with bench.child("dissected_relay") as relay, bench.connection() as connection:
        for round_number in range(bench.rounds + 1):
            seconds = dissected(connection, relay, topic, count)
            if round_number:  # the first one warms up
                found.append(seconds)
    topic.delete()
    row = {part: median(seconds[part] for seconds in found) / count * 1e6 for part in PARTS if part in found[0]}
    return [
        Row(what=f"of a drained row, {PARTS[part]}", ours=f"{microseconds:.2f} µs")
        for part, microseconds in row.items()
    ]


def dissected(connection: psycopg.Connection[Any], relay: Child, topic: Topic, count: int) -> dict[str, float]:
    draining.fill(connection, topic, count)
    found = connection.execute("SELECT headers FROM eventbus_outbox LIMIT 1").fetchone()
    assert found is not None
    before = servers()
    seconds: dict[str, float] = relay.ask("drain", count=count)
    after = servers()
    require(count, seconds.pop("sent"), "messages sent")
    require(list(range(count)), topic.read_new(), f"records of {topic.name}")
    draining.require_empty(connection)
    thread = seconds.pop("thread")
    rest = thread - sum(seconds[part] for part in ("read", "produce", "flush", "delete"))
    split = float(relay.ask("split", headers=found[0], count=count))
    return (
        seconds
        | {"split": split, "produce": seconds["produce"] - split, "rest": rest}
        | {name: after[name] - before[name] for name in before}
    )


def servers() -> Mapping[str, float]:
    """Return the processor time that the servers which this run has started have taken so far."""
    return {
        name: taken(int(service["keeper"]))
        for name in ("postgres", "kafka")
        if (service := services.started(name)) is not None and "keeper" in service
    }


def taken(keeper: int) -> float:
    """Return the seconds of all processes below one, with those that have ended."""
    total = 0.0
    for process in psutil.Process(keeper).children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:  # its parent has it among the ended ones, from now on
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
