"""What does one event take of processors and of disks, at each stage of its way?

These are the constants of docs/explanation/scaling.md. Everything happens in one process and one database.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import psycopg

from benchmarks import services

from . import inbox, worlds
from .meter import Meter
from .results import duration
from .run import Run
from .steps import BATCH, Steps, add
from .units import UNIT, Units
from .worlds import World

EVENTS = 4_000
BLOCKS = 20
SIZE = "SELECT pg_table_size(%s), pg_indexes_size(%s)"
HEAD = "| what | clock | Python | PostgreSQL | Kafka | WAL |\n|---|---|---|---|---|---|\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruler:
    """Read clocks and counters around what is done."""

    connection: psycopg.Connection[tuple[int, ...]]
    brokers: list[int]

    @contextmanager
    def measure(self, what: str, *, server: int, is_sending: bool = False) -> Iterator[Meter]:
        """Print what one event of the blocks took; no checkpoint comes, so the log holds no full pages."""
        meter, kafka = Meter([server]), Meter(self.brokers if is_sending else ())
        before, used = self._log(), kafka.served()
        yield meter
        spent, written = kafka.served() - used, self._log() - before
        each = [median(meter.samples), *(total / meter.events for total in (meter.ours, meter.servers, spent))]
        times = " | ".join(duration(seconds) if seconds else "" for seconds in each)
        sys.stdout.write(f"| {what} | {times} | {written / meter.events:,.0f} bytes |\n")

    def table(self, name: str) -> None:
        """Print what a row takes on disk."""
        rows = self.connection.execute(f"SELECT count(*) FROM {name}").fetchone()  # type: ignore[arg-type]
        found = self.connection.execute(SIZE, [name, name]).fetchone()
        assert rows is not None
        assert found is not None
        sys.stdout.write(f"a row of {name}: {found[0] / rows[0]:,.0f} bytes, its index {found[1] / rows[0]:,.0f}\n")

    def _log(self) -> int:
        found = self.connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
        assert found is not None
        return int(found[0])


def main() -> int:
    """Let a few thousand events go their way."""
    with services.started() as (server, broker), worlds.stage(server, broker) as stage:
        run = Run(stage=stage, scale="small", rounds=1, largest=None)
        world = stage.home
        with run.sender() as sender, psycopg.connect(world.address, autocommit=True) as connection:
            ruler = Ruler(connection=connection, brokers=run.broker_processes())
            connection.execute("CHECKPOINT")
            sys.stdout.write(HEAD)
            published(world, ruler)
            for what, declare in HANDLERS.items():
                consumed(world, ruler, what, declare)
            drained(run, ruler, sender)
            sys.stdout.write("\n")
            connection.execute("TRUNCATE eventbus_outbox")
            add(connection, "nowhere", EVENTS)
            for name in ("eventbus_outbox", "eventbus_inbox"):
                ruler.table(name)
    return 0


def published(world: World, ruler: Ruler) -> None:
    for many in (1, 10):
        publish(world, many, Meter(), transactions=100)  # the first ones extend the files
        with ruler.measure(f"publish {many} in a transaction of its own", server=world.backend) as meter:
            publish(world, many, meter, transactions=EVENTS // many)
    ruler.connection.execute("TRUNCATE eventbus_outbox")


def publish(world: World, many: int, meter: Meter, *, transactions: int) -> None:
    from django.db import transaction

    from benchmarks.shop.events import order_placed
    from django_eventbus.outbox.publisher import publish

    config = world.config
    for _ in range(BLOCKS):
        with meter.block(transactions // BLOCKS * many):
            for _ in range(transactions // BLOCKS):
                with transaction.atomic(using=world.alias):
                    publish(config, [order_placed(number) for number in range(many)])


def drained(run: Run, ruler: Ruler, sender: Any) -> None:
    from benchmarks.topics import Topic

    topic = Topic(run.stage.broker, f"bench.constants.{run.seed}", partitions=4)
    add(ruler.connection, topic.name, (BLOCKS + 2) * BATCH)
    ruler.connection.execute("VACUUM eventbus_outbox")
    relay = Steps(run.stage.home, sender)
    relay.take()
    relay.take()
    with ruler.measure("drain, in steps of 1000", server=relay.backend, is_sending=True) as meter:
        for _ in range(BLOCKS):
            relay.time(meter)
    relay.close()
    topic.delete()


def consumed(world: World, ruler: Ruler, what: str, declare: Callable[[], None]) -> None:
    worker = Units(world, declare, group=f"of-{what}")
    worker.time(Meter(), worker.records(10 * UNIT))
    with ruler.measure(what, server=world.backend) as meter:
        for _ in range(BLOCKS // 2):
            worker.time(meter, worker.records(500))


def declare_single() -> None:
    from benchmarks.shop.events import OrderPlaced
    from benchmarks.shop.models import Effect
    from django_eventbus import handler

    def record(event: OrderPlaced) -> None:
        Effect.objects.create(number=event.number, order=event.order, note=event.currency)

    handler(OrderPlaced, name="bench.single")(record)


def declare_batch() -> None:
    from benchmarks.shop.events import OrderPlaced
    from benchmarks.shop.models import Effect
    from django_eventbus import handler

    def record(events: list[OrderPlaced]) -> None:
        Effect.objects.bulk_create([Effect(number=e.number, order=e.order, note=e.currency) for e in events])

    handler(OrderPlaced, name="bench.batch", batch=500)(record)


HANDLERS: dict[str, Callable[[], None]] = {
    "consume, units of 50, a handler that does nothing": inbox.declare,
    "consume, units of 50, one ORM insert each": declare_single,
    "consume, lists of 500, one bulk insert": declare_batch,
}


if __name__ == "__main__":
    sys.exit(main())
