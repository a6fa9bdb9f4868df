"""Do dead letters that nobody looks after make the next one dearer: to bury, to list, to replay?"""

from __future__ import annotations

import logging
from typing import Any

import psycopg

from benchmarks.bench import require

from .curves import Curve, series, up_to
from .meter import Meter
from .run import Run
from .units import Units
from .worlds import World

SIZES = {"small": (1, 100, 10_000, 100_000), "full": (1, 100, 10_000, 1_000_000)}
BURIED = 20  # of a round
PAGES = 5
PAGE = 50  # rows

# As a hundred handlers of twenty events leave them, with a traceback of 1500 letters, in the order of time; one handler
# fails so seldom that all it left fills a page.
ROWS = r"""
INSERT INTO eventbus_dead_letter (direction, status, reason, bus, group_name, handler, event_name, event_version,
    message_id, source, topic, partition_id, partition_number, position, lane, inbox_key, key, headers, payload,
    exception_type, exception_message, traceback, attempts, times_dead, saga, saga_key, correlation_id, tenant_id,
    published_at, first_failed_at, failed_at)
SELECT 'in', 'dead', 'attempts_exhausted', 'default', 'bench',
    CASE WHEN n %% greatest(1, %(count)s / %(page)s) = 0 THEN 'shop.seldom' ELSE 'shop.handler_' || n %% 100 END,
    'bench.shop.event-' || n %% 20, '1', (lpad(to_hex(n), 12, '0') || substr(md5('m' || n), 1, 20))::uuid::text,
    '/bench/bench', 'bench.orders', 1, 0, n, md5('l' || n %% 1000)::uuid,
    (lpad(to_hex(n), 12, '0') || substr(md5('i' || n), 1, 20))::uuid, convert_to('order-' || n %% 1000, 'UTF8'), '\x90',
    repeat('n', 330)::bytea, 'builtins.ValueError', 'no such customer: ' || n, repeat('at line ' || n, 100), 5, 1,
    '', '', '', '', now(), now(), now()
FROM generate_series(1, %(count)s) n
"""


def measure(run: Run) -> Curve:
    """Let a handler refuse a message; replay what it left; open the list, and that of one handler, if it is full."""
    sizes = up_to(SIZES[run.scale], run.largest)
    with run.stage.worlds(sizes, lambda connection, world: fill(connection, world.size)) as worlds, listed(worlds):
        logging.getLogger("django_eventbus").setLevel(logging.CRITICAL)  # each refusal is told
        workers = {world.size: Units(world, declare) for world in worlds}
        client = operator()
        bury, replay, page, found = ({w.size: Meter([w.backend]) for w in worlds} for _ in range(4))
        for number in run.rounds_with_warm_up():
            for world in worlds:
                kept = {"bury": bury, "replay": replay, "page": page, "found": found}
                meters = {name: meter[world.size] if number else Meter() for name, meter in kept.items()}
                for _ in range(BURIED):
                    workers[world.size].time(meters["bury"], workers[world.size].records(1))
                for _ in range(PAGES if world.size >= PAGE else 0):
                    open_list(client, world, meters["page"])
                    open_list(client, world, meters["found"], handler="shop.seldom")
                replay_new(world, meters["replay"])
        for worker in workers.values():
            worker.require("DEAD_LETTERED", BURIED * (run.rounds + 1))
    return Curve(
        name="dead_letters",
        grows="dead letters",
        series=(
            series("a message that is buried, in a unit of its own", unit="message", meters=bury),
            series("a replay of one", unit="replay", meters=replay),
            series("the list in the admin, 50 rows", unit="page", meters=full(page)),
            series("the list of one handler, 50 rows", unit="page", meters=full(found)),
        ),
    )


def full(meters: dict[int, Meter]) -> dict[int, Meter]:
    """Leave out the sizes that fill no page: most of its time goes into the rows that it shows."""
    return {size: meter for size, meter in meters.items() if size >= PAGE}


def fill(connection: psycopg.Connection[Any], count: int) -> None:
    connection.execute(ROWS, {"count": count, "page": PAGE})


def declare() -> None:
    from benchmarks.shop.events import OrderPlaced
    from django_eventbus import handler
    from django_eventbus.exceptions import Reject

    def refuse(event: OrderPlaced) -> None:
        raise Reject("no such customer")

    handler(OrderPlaced, name="bench.refuse")(refuse)


class listed:
    """Let the admin know the databases: it shows those of the buses."""

    def __init__(self, worlds: list[World]) -> None:
        self._worlds = worlds

    def __enter__(self) -> None:
        from django.conf import settings

        from django_eventbus.bus import buses

        default = settings.EVENTBUS["default"]
        settings.EVENTBUS |= {world.alias: {**default, "DATABASE": world.alias} for world in self._worlds}
        buses.clear()

    def __exit__(self, *exc: object) -> None:
        from django.conf import settings

        from django_eventbus.bus import buses

        for world in self._worlds:
            del settings.EVENTBUS[world.alias]
        buses.clear()


def operator() -> Any:
    """Log in to the admin."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


def open_list(client: Any, world: World, meter: Meter, **filters: str) -> None:
    from django.urls import reverse

    url = reverse("admin:eventbus_deadletter_changelist")
    with meter.block(1):
        answer = client.get(url, {"database": world.alias, **filters})
    require(200, answer.status_code, "status of the page")
    require(True, b"bench.shop." in answer.content, "events on the page")


def replay_new(world: World, meter: Meter) -> None:
    """Replay what this round has buried, one by one, and take it away: the size stays what it is."""
    from django.db import connections

    from django_eventbus.delivery.replay import replay

    with connections[world.alias].cursor() as cursor:
        cursor.execute("SELECT id FROM eventbus_dead_letter WHERE handler = 'bench.refuse'")
        ids = [row[0] for row in cursor.fetchall()]
    require(BURIED, len(ids), "messages buried")
    for number in ids:
        with meter.block(1):
            report = replay([number], actor="bench", using=world.alias)
        require((number,), report.done, "dead letters replayed")
    with connections[world.alias].cursor() as cursor:
        cursor.execute("DELETE FROM eventbus_retry")
        cursor.execute("DELETE FROM eventbus_dead_letter WHERE handler = 'bench.refuse'")
