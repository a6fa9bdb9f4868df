"""How much memory do relay and consumer take while a large backlog waits, and does it grow?"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import mean

import psutil

from .bench import Bench, require
from .children import Command
from .consuming.messages import clear, ready, wait_for_effects
from .relaying.draining import fill, require_empty
from .report import Row

ROWS = 100_000
MEGABYTE = 2**20


def run(bench: Bench) -> list[Row]:
    count = bench.scaled(ROWS)
    return [relay(bench, count), consumer(bench, count)]


def relay(bench: Bench, count: int) -> Row:
    """Let `drain_outbox` empty the outbox."""
    topic = bench.topic()
    with bench.connection() as connection:
        fill(connection, topic, count)
        with bench.command("drain_outbox", "--until-empty", topic=topic.name) as command:
            samples = sampled(command, lambda: command.process.poll() is not None)
        require_empty(connection)
    require(list(range(count)), topic.read_new(), f"records of {topic.name}")
    topic.delete()
    return row("relay", samples, count, at_most=120)


def consumer(bench: Bench, count: int) -> Row:
    """Let `consume_events` catch up with the topic."""
    topic = bench.topic()
    topic.fill(ready(count))
    with bench.connection() as connection:
        clear(connection)
        options = {"topic": topic.name, "group": f"bench-memory-{count}", "handlers": "listed"}
        with bench.command("consume_events", "--until-caught-up", **options) as command:
            samples = sampled(command, lambda: command.process.poll() is not None)
        wait_for_effects(connection, count, require_alive=lambda: None)
    require(list(range(count)), topic.read_new(), f"records of {topic.name}")
    topic.delete()
    return row("consumer", samples, count, at_most=200)


def sampled(command: Command, is_over: Callable[[], bool]) -> list[float]:
    """Return the megabytes that a process held, ten times a second."""
    process = psutil.Process(command.process.pid)
    samples: list[float] = []
    while not is_over():
        try:
            samples.append(process.memory_info().rss / MEGABYTE)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.1)
    return [sample for sample in samples if sample]


def row(what: str, samples: list[float], count: int, *, at_most: int) -> Row:
    """Judge the peak, and whether the last third is where the middle one was: before that, things start."""
    third = len(samples) // 3
    middle, last = mean(samples[third : 2 * third]), mean(samples[2 * third :])
    is_flat = last <= 1.1 * middle
    return Row(
        what=f"memory of the {what}, {count:,} messages waiting",
        ours=f"{max(samples):.0f} MB at most, {'flat' if is_flat else 'growing'} ({middle:.0f}, then {last:.0f})",
        target=f"<= {at_most} MB, flat",
        is_met=max(samples) <= at_most and is_flat,
    )
