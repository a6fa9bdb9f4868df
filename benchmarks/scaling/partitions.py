"""Do more partitions of a topic make its events dearer, to send and to consume?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import psutil
import psycopg
from confluent_kafka.cimpl import Producer

from benchmarks.bench import Bench, require
from benchmarks.children import Command
from benchmarks.consuming.handling import rate_of
from benchmarks.consuming.messages import clear, ready, require_taken, wait_for_effects, wait_for_owners
from benchmarks.topics import Ready, Topic

from .curves import Curve, series, up_to
from .meter import Meter
from .run import Run
from .steps import BATCH, Steps, add

SIZES = {"small": (1, 16, 64), "full": (1, 4, 16, 64, 256)}
STEPS = 6  # of a round
LARGE = 5 * BATCH  # rows of the step that shows what OUTBOX["BATCH_SIZE"] does
CONSUMED = 3_000  # messages of a round


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumed:
    """Be a topic with the process that consumes it."""

    topic: Topic
    command: Command

    def used(self) -> float:
        """Return the processor seconds that the process has taken."""
        times = psutil.Process(self.command.process.pid).cpu_times()
        return times.user + times.system


def measure(run: Run) -> Curve:
    """Send the same rows to topics of so many partitions, barely too; let a process each consume the same messages."""
    sizes = up_to(SIZES[run.scale], run.largest)
    bench = Bench(database=run.stage.home.address, kafka=run.stage.broker, rounds=run.rounds, scale=1)
    with ExitStack() as stack:
        connection = stack.enter_context(bench.connection())
        sender = stack.enter_context(run.sender())
        relay, large = Steps(run.stage.home, sender), Steps(run.stage.home, sender, batch=LARGE)
        stack.callback(relay.close)
        stack.callback(large.close)
        consumed = {size: consumer(bench, stack, connection, size) for size in sizes}
        sent = {size: bench.topic(partitions=size) for size in sizes}
        brokers = run.broker_processes()
        step = {size: Meter([relay.backend, *brokers]) for size in sizes}
        larger = {size: Meter([large.backend, *brokers]) for size in sizes}
        bare, handled = ({size: Meter(brokers) for size in sizes} for _ in range(2))
        producer, records = bare_producer(run.stage.broker), list(ready(BATCH))
        for number in run.rounds_with_warm_up():
            for size in sizes:
                for _ in range(STEPS):
                    add(connection, sent[size].name, BATCH)
                    relay.time(step[size] if number else Meter())
                    produce(producer, sent[size].name, records, bare[size] if number else Meter())
                add(connection, sent[size].name, LARGE)
                large.time(larger[size] if number else Meter(), LARGE)
            for size in sizes:
                handle(connection, consumed[size], handled[size] if number else Meter())
        for topic in sent.values():
            require(
                (2 * BATCH * STEPS + LARGE) * (run.rounds + 1), run.records_of(topic.name), f"records of {topic.name}"
            )
            topic.delete()
    return curve(step=step, larger=larger, bare=bare, handled=handled)


def curve(
    *, step: dict[int, Meter], larger: dict[int, Meter], bare: dict[int, Meter], handled: dict[int, Meter]
) -> Curve:
    """Say what is judged: a step becomes one batch for each partition, which the bare producer pays for as well."""
    return Curve(
        name="partitions",
        grows="partitions of the topic",
        series=(
            series("a step of 1000 rows of 1000 keys", unit="row", meters=step, counts=False),
            series(f"a step of {LARGE} rows", unit="row", meters=larger),
            series("the same 1000 records by a bare producer", unit="record", meters=bare, counts=False),
            series("a message with one ORM insert, by consume_events", unit="message", meters=handled),
        ),
    )


def consumer(bench: Bench, stack: ExitStack, connection: psycopg.Connection[tuple[object, ...]], size: int) -> Consumed:
    """Start the command, and wait until it has all partitions."""
    topic, group = bench.topic(partitions=size), f"bench-of-{size}"
    stack.callback(topic.delete)
    command = bench.command("consume_events", topic=topic.name, group=group, handlers="single")
    running = stack.enter_context(command)
    wait_for_owners(connection, group, processes=1, partitions=size)
    return Consumed(topic=topic, command=running)


def handle(connection: psycopg.Connection[tuple[object, ...]], consumed: Consumed, meter: Meter) -> None:
    """Let it handle some messages; the sample is by the server's clock, without the first tenth."""
    clear(connection)
    before = consumed.used()
    consumed.topic.fill(ready(CONSUMED))
    wait_for_effects(connection, CONSUMED, require_alive=consumed.command.require_alive)
    require_taken(connection, "eventbus_inbox", CONSUMED)
    meter.note(CONSUMED, each=1 / rate_of(connection), ours=consumed.used() - before, servers=0.0)


def bare_producer(broker: str) -> Producer:
    """Open the producer of the reference of the benchmarks."""
    options = {"enable.idempotence": True, "acks": "all", "partitioner": "murmur2_random", "linger.ms": 5}
    return Producer({"bootstrap.servers": broker, "compression.type": "lz4", **options})


def produce(producer: Producer, topic: str, records: Sequence[Ready], meter: Meter) -> None:
    with meter.block(len(records)):
        for key, headers, value in records:
            producer.produce(topic, value, key, headers=headers)
        left = producer.flush(30)
    require(0, left, "records that were not sent")
