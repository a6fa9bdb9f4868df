"""How long after a commit is the broker's delivery report there, while the relay has nothing else to do?"""

from __future__ import annotations

from benchmarks.bench import Bench, require, wait_until
from benchmarks.report import Row
from benchmarks.topics import FIRST_NUMBER

EVENTS = 400
INTERVAL = 0.025  # seconds between two publishes
WARM_UP = 40


def run(bench: Bench) -> list[Row]:
    topic = bench.topic()
    count = EVENTS + WARM_UP
    with bench.child("relay") as relay, bench.child("publisher", topic=topic.name) as publisher:
        delays: list[float] = []
        for _ in range(max(1, bench.rounds - 1)):
            relay.ask("start")
            commits = publisher.ask("paced", count=count, interval=INTERVAL)
            with bench.connection() as connection:
                wait_until(
                    lambda: connection.execute("SELECT count(*) FROM eventbus_outbox").fetchone() == (0,),
                    "the outbox is empty",
                )
            answer = relay.ask("stop")
            require(count, answer["sent"], "messages sent")
            require(list(range(count)), topic.read_new(), f"records of {topic.name}")
            committed = dict(map(tuple, commits))
            delivered = {number - FIRST_NUMBER: at for number, at in answer["deliveries"]}
            delays += [(delivered[number] - committed[number]) * 1e3 for number in range(WARM_UP, count)]
    topic.delete()
    delays.sort()
    p50, p99 = delays[len(delays) // 2], delays[len(delays) * 99 // 100]
    return [
        Row(
            what=f"commit to delivery report, median of {len(delays)}",
            ours=f"{p50:.2f} ms",
            target="<= 2 ms",
            is_met=p50 <= 2,
        ),
        Row(
            what="commit to delivery report, 99th percentile",
            ours=f"{p99:.2f} ms",
            target="<= 10 ms",
            is_met=p99 <= 10,
        ),
    ]
