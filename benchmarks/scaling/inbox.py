"""Does an inbox that remembers years make the next message dearer, or its own purge?"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from benchmarks.bench import require, tell

from .curves import Curve, series, up_to
from .meter import Meter
from .run import Run
from .units import UNIT, Units
from .worlds import World

SIZES = {"small": (100_000, 300_000, 1_000_000), "full": (1_000_000, 10_000_000, 50_000_000)}
TAKEN = 20  # units of a round
PURGED = 2  # chunks of a round
CHUNK = 5_000
AT_ONCE = 2_000_000
DAYS = 30

# Keys as models/inbox.py makes them of UUIDv7 ids: 48 bits of time, then hash. The first came `DAYS` days ago.
ROWS = """
INSERT INTO eventbus_inbox (key, handler, partition_id, position, received_at)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || substr(md5(n::text), 1, 20))::uuid,
       'shop.record', n %% 4 + 1, n / 4, at
FROM (SELECT n, now() - make_interval(days => %(days)s) * (1 - n::float8 / %(size)s) AS at
      FROM generate_series(%(first)s, %(last)s - 1) n) rows
"""


def measure(run: Run) -> Curve:
    """Take units of 50 new messages, each with its inbox row; delete the oldest rows as `eventbus_purge` does."""
    sizes = up_to(SIZES[run.scale], run.largest)
    with run.stage.worlds(sizes, fill) as worlds:
        workers = {world.size: Units(world, declare) for world in worlds}
        taken, purged = ({w.size: Meter([w.backend]) for w in worlds} for _ in range(2))
        for number in run.rounds_with_warm_up():
            for world in worlds:
                worker = workers[world.size]
                for _ in range(TAKEN):
                    records = worker.records(UNIT)
                    time.sleep(0.002)  # the ids of the next unit are to be newer
                    worker.time(taken[world.size] if number else Meter(), records)
                purge(world, purged[world.size] if number else Meter())
        for worker in workers.values():
            worker.require("HANDLED", UNIT * TAKEN * (run.rounds + 1))
    return Curve(
        name="inbox",
        grows="rows in the inbox",
        series=(
            series("a unit of 50 messages, with a handler that does nothing", unit="message", meters=taken),
            series("a purge in chunks of 5000", unit="row", meters=purged),
        ),
    )


def declare() -> None:
    from benchmarks.shop.events import OrderPlaced
    from django_eventbus import handler

    def nothing(event: OrderPlaced) -> None: ...

    handler(OrderPlaced, name="bench.nothing")(nothing)


def fill(connection: psycopg.Connection[Any], world: World) -> None:
    """Insert the rows first and build the index after them: a tenth of the time, and the same index."""
    connection.execute("SET maintenance_work_mem = '512MB'")
    connection.execute("ALTER TABLE eventbus_inbox DROP CONSTRAINT eventbus_inbox_pkey")
    for first in range(0, world.size, AT_ONCE):
        last = min(world.size, first + AT_ONCE)
        connection.execute(ROWS, {"first": first, "last": last, "size": world.size, "days": DAYS})
        if last % 10_000_000 == 0:
            tell(f"{last:,} rows")
    connection.execute("ALTER TABLE eventbus_inbox ADD CONSTRAINT eventbus_inbox_pkey PRIMARY KEY (key)")


def purge(world: World, meter: Meter) -> None:
    """Delete the oldest rows; half of a month is old, so that no round comes to its end."""
    from django_eventbus.models.purging import purge_inbox

    chunks = purge_inbox(world.alias, before=datetime.now(UTC) - timedelta(days=DAYS / 2), chunk=CHUNK)
    for _ in range(PURGED):
        with meter.block(CHUNK):
            gone = next(chunks)
        require(CHUNK, gone, "rows purged")
