from __future__ import annotations

from django_eventbus.events.contract import event


@event("killed.placed", entity="order", domain="killed", key="order_id")
class Placed:
    order_id: int


@event("killed.reserve", topic="stock", domain="killed", key="order_id")
class Reserve:
    order_id: int


@event("killed.reserved", entity="order", domain="killed", key="order_id")
class Reserved:
    order_id: int


@event("killed.paid", entity="order", domain="killed", key="order_id")
class Paid:
    order_id: int


@event("killed.release", topic="stock", domain="killed", key="order_id")
class Release:
    order_id: int
