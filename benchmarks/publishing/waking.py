"""What does waking the relay cost sixteen processes that write at the same time?"""

from __future__ import annotations

from benchmarks.bench import Bench, rate_row, require, wait_until
from benchmarks.children import Child
from benchmarks.report import Row

SECONDS = 1.5
DELAYS = {0: "", 2000: ", with flushes of 2 ms"}  # commit_delay in microseconds
RANGE = 1_000_000


def run(bench: Bench) -> list[Row]:
    topic = bench.topic()
    written = [0] * 16
    rates: dict[tuple[int, bool], list[float]] = {(delay, waking): [] for delay in DELAYS for waking in (False, True)}
    with (
        bench.child("crowd", topic=topic.name) as crowd,
        bench.child("relay") as relay,
        bench.connection() as connection,
    ):
        relay.ask("start")
        write(crowd, written, is_waking=True, commit_delay=0)
        for round_number in range(bench.rounds):
            for delay in DELAYS:
                for is_waking in (False, True) if round_number % 2 else (True, False):
                    rate = write(crowd, written, is_waking=is_waking, commit_delay=delay)
                    rates[delay, is_waking].append(rate)
        wait_until(
            lambda: connection.execute("SELECT count(*) FROM eventbus_outbox").fetchone() == (0,),
            "the outbox is empty",
        )
        require(sum(written), relay.ask("stop")["sent"], "messages sent")
    expected = [place * RANGE + number for place, count in enumerate(written) for number in range(count)]
    require(expected, topic.read_new(), f"records of {topic.name}")
    topic.delete()
    what = "16 writers that wake the relay / that do not"
    return [
        rate_row(f"{what}{suffix}", rates[delay, True], rates[delay, False], unit="tx/s", at_least=0.90)
        for delay, suffix in DELAYS.items()
    ]


def write(crowd: Child, written: list[int], *, is_waking: bool, commit_delay: int) -> float:
    counts = crowd.ask("write", seconds=SECONDS, is_waking=is_waking, commit_delay=commit_delay)
    written[:] = [before + count for before, count in zip(written, counts, strict=True)]
    return float(sum(counts)) / SECONDS
