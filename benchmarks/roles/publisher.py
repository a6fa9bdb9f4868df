"""A web process: small ORM transactions with events, with the same rows written barely, and without."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import django

django.setup()

from django.db import connection, transaction

from benchmarks.children import serve
from benchmarks.shop.events import order_placed
from benchmarks.shop.models import Order
from django_eventbus import publish, publish_many
from django_eventbus.models.control import bus_number

BLOCK = 20  # transactions of one kind in a row: what they leave to other threads must not fall to the next kind
BARE = "INSERT INTO eventbus_outbox (event_id, bus, shard, topic, key, headers, payload, event_name) VALUES "
COLUMNS = "event_id, bus, shard, topic, key, headers, payload, event_name"


def compare(events: int, blocks: int) -> dict[str, list[float]]:
    """Time blocks of transactions without events, with a bare INSERT of ready bytes, and with a publish."""
    ready = _ready_values(events)
    statement = BARE + ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s)"] * events)

    def nothing() -> None: ...

    def bare() -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, ready)

    def ours() -> None:
        if events == 1:
            publish(order_placed(1))
        else:
            publish_many([order_placed(number) for number in range(events)])

    kinds = {"nothing": nothing, "bare": bare, "ours": ours}
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for block in range(blocks + 2):
        for name, write in kinds.items():
            began = time.perf_counter()
            for _ in range(BLOCK):
                change(write)
            if block >= 2:  # the first ones warm up
                times[name].append((time.perf_counter() - began) / BLOCK)
    return times


def change(write: Callable[[], None]) -> None:
    with transaction.atomic():
        order = Order.objects.create(reference="order-0042", total=Decimal("12.50"))
        Order.objects.filter(pk=order.pk).update(state="placed")
        write()


def paced(count: int, interval: float) -> list[tuple[int, float]]:
    """Publish one event a transaction, at fixed times; return when each was committed."""
    commits: list[tuple[int, float]] = []
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number * interval - time.monotonic()))
        with transaction.atomic():
            transaction.on_commit(lambda: commits.append((number, time.monotonic())))  # noqa: B023
            Order.objects.create(reference=f"order-{number}", total=Decimal("12.50"))
            publish(order_placed(number))
    return commits


def _ready_values(events: int) -> list[Any]:
    """Let the product make the rows once, and copy their bytes."""
    with transaction.atomic():
        publish_many([order_placed(number) for number in range(events)])
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {COLUMNS} FROM eventbus_outbox ORDER BY id DESC LIMIT %s", [events])
            rows = cursor.fetchall()
        transaction.set_rollback(True)
    assert bus_number("default", "default") == rows[0][1]
    return [value for row in rows for value in (uuid4(), *row[1:])]


serve({"compare": compare, "paced": paced})
