"""The event of all benchmarks: 330 bytes of JSON, a key that many events share."""

from __future__ import annotations

import os

from benchmarks.settings import TOPIC
from benchmarks.topics import FIRST_NUMBER
from django_eventbus import event

KEYS = 1000
NOTE = "n" * 206
WAIT = 0.002  # seconds that slow handlers wait for somebody else


@event("bench.shop.order-placed", version=1, topic="/" + os.environ.get(TOPIC, "bench.orders"), key="order")
class OrderPlaced:
    """An order was placed."""

    number: int
    order: str
    customer: str
    currency: str
    total: str
    note: str


def order_placed(number: int) -> OrderPlaced:
    """Make the event of one order; equal sizes, whatever the number."""
    return OrderPlaced(
        number=FIRST_NUMBER + number,
        order=f"order-{number % KEYS:04}",
        customer="customer-000000000042",
        currency="EUR",
        total="1234567.89",
        note=NOTE,
    )
