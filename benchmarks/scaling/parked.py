"""Do keys that wait aside make the rows of other keys dearer?"""

from __future__ import annotations

from typing import Any

import psycopg

from benchmarks.bench import require
from benchmarks.topics import Topic

from .curves import Curve, series, up_to
from .meter import Meter
from .run import Run
from .steps import BATCH, Steps, add
from .worlds import World

SIZES = {"small": (10, 100, 1_000, 10_000), "full": (10, 100, 1_000, 10_000, 100_000)}
STEPS = 6  # of a round
LOOKS = 20
ASIDE = 10  # rows of keys that wait, in a step

# One message a key, each of which waits another hour; their shards are spread as those of any keys.
LANES = """
INSERT INTO eventbus_outbox_lane (bus, shard, topic, whole, key, reason, attempts, available_at, head_id)
SELECT bus.id, n %% 64, %(topic)s, false, convert_to('parked-' || n, 'UTF8'), 'BROKEN', 1,
       clock_timestamp() + interval '1 hour', 0
FROM generate_series(1, %(count)s) n CROSS JOIN (SELECT id FROM eventbus_control WHERE bus = 'default') bus
"""
MESSAGES = """
INSERT INTO eventbus_outbox_parked (lane_id, id, event_id, event_name, bus, shard, topic, key, headers, payload)
SELECT id, id, gen_random_uuid(), 'bench.shop.order-placed', bus, shard, topic, key, '', repeat('n', 330)::bytea
FROM eventbus_outbox_lane
"""
# Messages of the first keys that wait.
BEHIND = """
INSERT INTO eventbus_outbox (event_id, event_name, bus, shard, topic, key, headers, payload)
SELECT gen_random_uuid(), 'bench.shop.order-placed', bus, shard, topic, key, '', repeat('n', 330)::bytea
FROM eventbus_outbox_lane ORDER BY id LIMIT %s
"""


def measure(run: Run) -> Curve:
    """Send rows whose keys do not wait; look at an empty outbox; let rows aside whose keys do."""
    topic = Topic(run.stage.broker, f"bench.parked.{run.seed}", partitions=4)
    sizes = up_to(SIZES[run.scale], run.largest)

    def fill(connection: psycopg.Connection[Any], world: World) -> None:
        connection.execute(LANES, {"topic": topic.name, "count": world.size})
        connection.execute(MESSAGES)

    with run.stage.worlds(sizes, fill) as worlds, run.sender() as sender:
        relays = {world.size: Steps(world, sender) for world in worlds}
        step, look, aside = ({w.size: Meter([relays[w.size].backend]) for w in worlds} for _ in range(3))
        for number in run.rounds_with_warm_up():
            for world in worlds:
                relay, size = relays[world.size], world.size
                with psycopg.connect(world.address, autocommit=True) as connection:
                    relay.look(look[size] if number else Meter(), LOOKS)
                    for _ in range(STEPS):
                        add(connection, topic.name, BATCH)
                        relay.time(step[size] if number else Meter())
                    connection.execute(BEHIND, [ASIDE])
                    relay.time(aside[size] if number else Meter(), ASIDE)
                    gone = connection.execute("DELETE FROM eventbus_outbox_parked WHERE id <> lane_id")
                    require(ASIDE, gone.rowcount, "rows that stepped aside")
        for relay in relays.values():
            relay.close()
    topic.delete()
    return Curve(
        name="parked",
        grows="keys that wait aside",
        series=(
            series("a step of 1000 rows of other keys", unit="row", meters=step),
            series("a look at an empty outbox", unit="look", meters=look),
            series(f"a step of {ASIDE} rows of keys that wait", unit="row", meters=aside),
        ),
    )
