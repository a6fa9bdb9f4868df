"""What does a large schedule cost the relay, and how fast does what is due leave it?"""

from __future__ import annotations

from statistics import median
from typing import Any

import psycopg

from benchmarks.bench import Bench, per_second, require
from benchmarks.report import Row
from benchmarks.topics import Topic

from . import draining

WAITING = 200_000
DUE = 100_000
POLLS = 300

SCHEDULE = """
INSERT INTO eventbus_scheduled (event_id, bus, shard, topic, key, headers, payload, event_name, due_at)
SELECT event_id, bus, shard, topic, key, headers, payload, event_name,
       clock_timestamp() + make_interval(secs => %s) + (id %% 1000000) * interval '1 millisecond' FROM eventbus_outbox
"""
Polls = dict[str, list[tuple[float, float]]]  # by bus: the seconds of a whole turn, and of its look at the schedule


def run(bench: Bench) -> list[Row]:
    """A million messages wait: an idle look, the move of what is due, a look after it beside an old snapshot."""
    count = bench.scaled(WAITING)
    topic = bench.topic(partitions=1)
    rates: list[float] = []
    before: list[Polls] = []
    after: list[Polls] = []
    with bench.child("schedule") as relay, bench.connection() as connection:
        connection.execute("TRUNCATE eventbus_outbox, eventbus_scheduled")
        schedule(connection, topic, count, after=86_400)
        for _ in range(bench.rounds):
            before.append(relay.ask("poll", count=POLLS))
            schedule(connection, topic, DUE, after=-2000)
            with draining.holding_snapshot(bench, is_wanted=True):
                answer = relay.ask("move", count=DUE)
                connection.execute("DELETE FROM eventbus_outbox")
                after.append(relay.ask("poll", count=POLLS))
            require(DUE, answer["moved"], "messages moved")
            rates.append(per_second(answer["marks"]))
            connection.execute("TRUNCATE eventbus_outbox")
            connection.execute("VACUUM eventbus_scheduled")
        left = connection.execute("SELECT count(*) FROM eventbus_scheduled").fetchone()
        require((count,), left, "messages left waiting")
        connection.execute("TRUNCATE eventbus_scheduled")
    topic.delete()
    return [
        turn_of(before, count),
        look_of(before, f"look at a schedule of {count:,} messages / of none"),
        look_of(after, f"look after {DUE:,} of them have left, beside an old snapshot"),
        rate_of(rates),
    ]


def schedule(connection: psycopg.Connection[Any], topic: Topic, count: int, *, after: float) -> None:
    """Let so many messages be due from a time on, one a millisecond."""
    draining.fill(connection, topic, count)
    connection.execute(SCHEDULE, [after])
    connection.execute("TRUNCATE eventbus_outbox")
    connection.execute("ANALYZE eventbus_scheduled")
    connection.execute("CHECKPOINT")


def milliseconds(polls: list[Polls], bus: str, place: int) -> float:
    return median(poll[place] for found in polls for poll in found[bus]) * 1e3


def turn_of(polls: list[Polls], count: int) -> Row:
    ours, reference = (milliseconds(polls, bus, 0) for bus in ("default", "nothing"))
    return Row(
        what=f"idle turn of a relay, {count:,} messages scheduled / none",
        ours=f"{ours:.2f} ms",
        reference=f"{reference:.2f} ms",
        ratio=ours / reference,
        target="<= 1.10",
        is_met=ours / reference <= 1.1,
    )


def look_of(polls: list[Polls], what: str) -> Row:
    ours, reference = (milliseconds(polls, bus, 1) for bus in ("default", "nothing"))
    return Row(what=what, ours=f"{ours:.2f} ms", reference=f"{reference:.2f} ms", target="<= 1 ms", is_met=ours <= 1)


def rate_of(rates: list[float]) -> Row:
    rate = median(rates)
    return Row(
        what="scheduled messages moved into the outbox",
        ours=f"{rate:,.0f} rows/s",
        target=">= 20,000 rows/s",
        is_met=rate >= 20_000,
    )
