"""Does a backlog make its own rows dearer: to publish, to relay, to look at once they are gone?"""

from __future__ import annotations

from typing import Any

import psycopg

from benchmarks.bench import require, tell
from benchmarks.topics import Topic

from .curves import Curve, series, up_to
from .meter import Meter
from .run import Run
from .steps import BATCH, Steps, add
from .worlds import World

SIZES = {"small": (1_000, 10_000, 100_000), "full": (1_000, 10_000, 100_000, 1_000_000, 10_000_000)}
STEPS = 10  # of a round
PUBLISHES = 40  # of a round
LOOKS = 30  # of a round
DRAINED = 1_000_000  # rows that steps take at most of one backlog; what is left is deleted


def measure(run: Run) -> Curve:
    """Keep every depth as it is while steps are taken from its front; in the end empty it, and look again."""
    topic = Topic(run.stage.broker, f"bench.depth.{run.seed}", partitions=4)
    sizes = up_to(SIZES[run.scale], run.largest)

    def fill(connection: psycopg.Connection[Any], world: World) -> None:
        add(connection, topic.name, world.size)

    with run.stage.worlds(sizes, fill) as worlds, run.sender() as sender:
        relays = {world.size: Steps(world, sender) for world in worlds}
        publish, step, whole, empty = ({w.size: Meter(_servers(w, relays)) for w in worlds} for _ in range(4))
        for number in run.rounds_with_warm_up():
            for world in worlds:
                with psycopg.connect(world.address, autocommit=True) as connection:
                    for _ in range(STEPS):
                        relays[world.size].time(step[world.size] if number else Meter())
                        add(connection, topic.name, BATCH)
                    publish_each(world, publish[world.size] if number else Meter(), connection)
        for world in worlds:
            tell(f"emptying {world.size:,}")
            with psycopg.connect(world.address, autocommit=True) as connection:
                drain(relays[world.size], connection, whole[world.size])
        for _ in range(run.rounds):
            for world in worlds:
                relays[world.size].look(empty[world.size], LOOKS)
        for relay in relays.values():
            relay.close()
        sent = sum(min(world.size, DRAINED) + BATCH * STEPS * (run.rounds + 1) for world in worlds)
        require(sent, run.records_of(topic.name), f"records of {topic.name}")
    topic.delete()
    return Curve(
        name="depth",
        grows="rows that wait in the outbox",
        series=(
            series("a step of 1000 rows at this depth", unit="row", meters=step),
            series("its first million rows, one step after the other", unit="row", meters=whole),
            series("an empty look after it", unit="look", meters=empty),
            series("a transaction that publishes one event", unit="event", meters=publish),
        ),
    )


def publish_each(world: World, meter: Meter, connection: psycopg.Connection[Any]) -> None:
    """Publish one event a transaction, and take the rows away again: the depth stays what it is."""
    from django.db import transaction

    from benchmarks.shop.events import order_placed
    from django_eventbus.outbox.publisher import publish

    last = connection.execute("SELECT max(id) FROM eventbus_outbox").fetchone()
    config = world.config
    for number in range(PUBLISHES):
        with meter.block(1), transaction.atomic(using=world.alias):
            publish(config, [order_placed(number)])
    gone = connection.execute("DELETE FROM eventbus_outbox WHERE id > %s", last)
    require(PUBLISHES, gone.rowcount, "rows published")


def drain(relay: Steps, connection: psycopg.Connection[Any], meter: Meter) -> None:
    """Take steps until nothing, or enough, is gone; then nothing is left. A sample is what a row of one step cost."""
    found = connection.execute("SELECT count(*) FROM (SELECT FROM eventbus_outbox LIMIT %s) rows", [DRAINED]).fetchone()
    assert found is not None
    left = found[0]
    while left:
        rows = min(BATCH, left)
        relay.time(meter, rows)
        left -= rows
    connection.execute("DELETE FROM eventbus_outbox")
    relay.take()  # walks once over what somebody else has deleted


def _servers(world: World, relays: dict[int, Steps]) -> tuple[int, int]:
    return world.backend, relays[world.size].backend
