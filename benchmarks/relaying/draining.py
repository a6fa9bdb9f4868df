"""How fast does the relay empty a backlog, also while other sessions hold back the server's clean-up?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import psycopg

from benchmarks.bench import Bench, per_second, rate_row, require
from benchmarks.children import Child
from benchmarks.report import Row
from benchmarks.topics import FIRST_NUMBER, Topic

ROWS = 60_000
MANY_ROWS = 100_000

# The bytes of shop/events.py, and the seven headers of an event that has no parent and no trace.
FILL = r"""
INSERT INTO eventbus_outbox (event_id, bus, shard, topic, key, headers, payload, event_name)
SELECT lpad(to_hex(n), 32, '0')::uuid, (SELECT id FROM eventbus_control WHERE bus = 'default'), n %% 64, %(topic)s,
       convert_to('order-' || lpad((n %% 1000)::text, 4, '0'), 'UTF8'),
       concat_ws(E'\x1f', 'ce_specversion', '1.0', 'ce_id', lpad(to_hex(n), 32, '0')::uuid::text,
                 'ce_type', 'bench.shop.order-placed', 'ce_source', '/bench/bench',
                 'ce_time', '2026-01-01T00:00:00.000000Z', 'ce_eventversion', '1', 'content-type', 'application/json'),
       convert_to('{"number":' || %(first)s + n || ',"order":"order-' || lpad((n %% 1000)::text, 4, '0')
                  || '","customer":"customer-000000000042","currency":"EUR","total":"1234567.89","note":"'
                  || repeat('n', 206) || '"}', 'UTF8'),
       'bench.shop.order-placed'
FROM generate_series(0, %(count)s - 1) n
"""


def run(bench: Bench) -> list[Row]:
    """Compare with a loop that only reads and produces."""
    topic = bench.topic()
    ours, bare = [], []
    with bench.child("relay") as relay, bench.child("bare_relay") as reference, bench.connection() as connection:
        for round_number in range(bench.rounds + 1):
            fill(connection, topic, ROWS)
            bare_rate = drained(reference, topic, ROWS)
            our_rate = drained(relay, topic, ROWS)
            require_empty(connection)
            if round_number:  # the first one warms up
                bare.append(bare_rate)
                ours.append(our_rate)
    topic.delete()
    return [rate_row("drain to Kafka / bare SELECT and produce", ours, bare, unit="rows/s", at_least=0.70)]


def run_disturbed(bench: Bench) -> list[Row]:
    """Compare the relay with itself: undisturbed, beside an old snapshot, beside a writer that stays open."""
    count = bench.scaled(MANY_ROWS)
    topic = bench.topic()
    rates: dict[str, list[float]] = {name: [] for name in DISTURBANCES}
    polls: dict[str, list[float]] = {name: [] for name in DISTURBANCES}
    with bench.child("relay") as relay, bench.connection() as connection:
        for _ in range(bench.rounds):
            for name, disturbance in DISTURBANCES.items():
                connection.execute("TRUNCATE eventbus_outbox")
                with disturbance(bench):
                    fill(connection, topic, count, is_fresh=True)
                    with holding_snapshot(bench, is_wanted=name == "old snapshot"):
                        answer = relay.ask("drain", count=count, linger=1.0)
                    require(count, answer["sent"], "messages sent")
                    require(list(range(count)), topic.read_new(), f"records of {topic.name}")
                require_empty(connection)
                rates[name].append(per_second(answer["marks"]))
                polls[name] += answer["polls"]
    topic.delete()
    return [row for name in ("old snapshot", "open writer") for row in rows_of(name, rates, polls, count)]


def rows_of(name: str, rates: dict[str, list[float]], polls: dict[str, list[float]], count: int) -> Iterator[Row]:
    what = f"drain {count:,} rows beside an {name} / undisturbed"
    yield rate_row(what, rates[name], rates["undisturbed"], unit="rows/s", at_least=0.80)
    poll = median(polls[name]) * 1e3
    yield Row(
        what=f"empty poll after it, beside an {name}",
        ours=f"{poll:.2f} ms",
        reference=f"{median(polls['undisturbed']) * 1e3:.2f} ms",
        target="<= 2 ms",
        is_met=poll <= 2,
    )


def fill(connection: psycopg.Connection[Any], topic: Topic, count: int, *, is_fresh: bool = False) -> None:
    """Put ready rows into an empty outbox, and let the server finish what it does after such an insert."""
    if not is_fresh:
        connection.execute("TRUNCATE eventbus_outbox")
    connection.execute(FILL, {"topic": topic.name, "count": count, "first": FIRST_NUMBER})
    connection.execute("VACUUM ANALYZE eventbus_outbox")
    connection.execute("CHECKPOINT")


def drained(child: Child, topic: Topic, count: int) -> float:
    """Let a child send everything; count the records; return its rate."""
    answer = child.ask("drain", count=count)
    require(count, answer["sent"], "messages sent")
    require(list(range(count)), topic.read_new(), f"records of {topic.name}")
    return per_second(answer["marks"])


def require_empty(connection: psycopg.Connection[Any]) -> None:
    for table in ("eventbus_outbox", "eventbus_outbox_parked", "eventbus_dead_letter"):
        require((0,), connection.execute(f"SELECT count(*) FROM {table}").fetchone(), f"rows left in {table}")


@contextmanager
def nothing(bench: Bench) -> Iterator[None]:
    yield


@contextmanager
def writing(bench: Bench) -> Iterator[None]:
    """Hold a transaction open that has written the first message of all, and roll it back at the end."""
    with psycopg.connect(bench.database) as writer:
        writer.execute(FILL, {"topic": "never.sent", "count": 1, "first": FIRST_NUMBER})
        yield
        writer.rollback()


@contextmanager
def holding_snapshot(bench: Bench, *, is_wanted: bool) -> Iterator[None]:
    """Hold a snapshot in which every row of the backlog is still there."""
    with psycopg.connect(bench.database) as reader:
        if is_wanted:
            reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            reader.execute("SELECT count(*) FROM eventbus_control")
        yield
        reader.rollback()


DISTURBANCES = {"undisturbed": nothing, "old snapshot": nothing, "open writer": writing}
