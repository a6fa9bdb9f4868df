"""Sixteen web processes that write at the same time, each an own order with its events."""

from __future__ import annotations

import multiprocessing
import time
from decimal import Decimal
from multiprocessing.connection import Connection

import django

django.setup()

from django.db import connection, transaction

from benchmarks.children import serve
from benchmarks.shop.events import order_placed
from benchmarks.shop.models import Order
from django_eventbus import publish
from django_eventbus.outbox import wakeup

RANGE = 1_000_000  # numbers of one writer


def write_on_demand(place: int, pipe: Connection) -> None:
    order = Order.objects.create(reference=f"writer-{place}", total=Decimal(0))
    written = 0
    while (command := pipe.recv()) is not None:
        start_at, seconds, is_waking, commit_delay = command
        with connection.cursor() as cursor:
            cursor.execute(f"SET commit_siblings = 0; SET commit_delay = {commit_delay}")
        if is_waking:
            wakeup.release()
        else:
            wakeup.hold()
        before = written
        time.sleep(max(0.0, start_at - time.monotonic()))
        while time.monotonic() < start_at + seconds:
            with transaction.atomic():
                Order.objects.filter(pk=order.pk).update(total=written)
                publish(order_placed(place * RANGE + written), key=f"writer-{place}")
            written += 1
        pipe.send(written - before)


def write(*, seconds: float, is_waking: bool, commit_delay: int) -> list[int]:
    """Let all write for so long; return how many transactions each has committed."""
    start_at = time.monotonic() + 0.1
    for pipe in pipes:
        pipe.send((start_at, seconds, is_waking, commit_delay))
    return [pipe.recv() for pipe in pipes]


context = multiprocessing.get_context("fork")
pipes: list[Connection] = []
for place in range(16):
    ours, theirs = context.Pipe()
    context.Process(target=write_on_demand, args=(place, theirs), daemon=True).start()
    pipes.append(ours)

serve({"write": write})
