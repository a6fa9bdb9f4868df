"""What does a relay pay for the rows that belong to others, where several share an outbox?"""

from __future__ import annotations

import psycopg

from benchmarks.topics import Topic

from .curves import Curve, series, up_to
from .meter import Meter
from .run import Run
from .steps import BATCH, Steps, add

SIZES = {"small": (1, 2, 4, 8), "full": (1, 2, 4, 8, 16)}
STEPS = 5  # of a round


def measure(run: Run) -> Curve:
    """Take the steps of one relay of so many from a backlog that belongs to all of them alike."""
    topic = Topic(run.stage.broker, f"bench.relays.{run.seed}", partitions=4)
    sizes = up_to(SIZES[run.scale], run.largest)
    step = {size: Meter() for size in sizes}
    with run.stage.worlds((0,), lambda connection, world: None) as (world,), run.sender() as sender:
        for number in run.rounds_with_warm_up():
            for size in sizes:
                with psycopg.connect(world.address, autocommit=True) as connection:
                    connection.execute("TRUNCATE eventbus_outbox")
                    add(connection, topic.name, BATCH * size * STEPS)
                    connection.execute("VACUUM ANALYZE eventbus_outbox")
                relay = Steps(world, sender, shares=size)
                step[size].serve(relay.backend)
                for _ in range(STEPS):
                    relay.time(step[size] if number else Meter())
                relay.close()
    topic.delete()
    return Curve(
        name="relays",
        grows="relays that share the outbox",
        series=(series("a step of 1000 rows of its own", unit="row", meters=step),),
    )
