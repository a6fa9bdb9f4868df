"""A few events of a shop, the records that carry them, and a bus that consumes them."""

from __future__ import annotations

import json
from typing import Any

from django_eventbus.conf import BusConfig, load
from django_eventbus.delivery.deliveries import Delivery, Received
from django_eventbus.delivery.groups import HandlerGroup
from django_eventbus.delivery.pipeline import receive
from django_eventbus.delivery.registry import groups_of
from django_eventbus.events.contract import event, external_event
from django_eventbus.transports.base import Record

EVENT_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
TOPIC = "dev.shop.public.orders.v1"


@event("desk.orders.order-placed", entity="order", domain="shop", key="order_id")
class OrderPlaced:
    order_id: int
    total: int = 0


@event("desk.orders.order-paid", entity="order", domain="shop", key="order_id")
class OrderPaid:
    order_id: int


@event("desk.orders.order-placed", version=2, entity="order", domain="shop", key="order_id")
class OrderPlacedTwo:
    order_id: int
    total: int
    currency: str


@external_event("accounting.day-ended", topic="day", domain="accounting")
class DayEnded:
    day: str


def config(**settings: Any) -> BusConfig:
    return load({"default": {"DOMAIN": "shop", "SERVICE": "orders", **settings}})["default"]


def group(bus: BusConfig | None = None) -> HandlerGroup:
    """Return the only group there is."""
    (found,) = groups_of(bus or config()).values()
    return found


def record(
    name: str = "desk.orders.order-placed",
    data: object = None,
    *,
    version: str | None = "1",
    value: bytes | None = None,
    key: bytes | None = b"42",
    offset: int = 5,
    message_id: str = EVENT_ID,
    source: str = "/shop/orders",
    **attributes: str,
) -> Record:
    headers = {"specversion": "1.0", "id": message_id, "type": name, "source": source, "eventversion": version}
    pairs = [(f"ce_{name}", text.encode()) for name, text in (headers | attributes).items() if text is not None]
    body = json.dumps({"order_id": 42} if data is None else data).encode() if value is None else value
    return Record(TOPIC, 3, offset, key, body, [*pairs, ("content-type", b"application/json")], None)


def deliveries(of: Record | None = None, bus: BusConfig | None = None, **options: Any) -> tuple[Delivery, ...]:
    received = receive(of or record(), group(bus), bus or config(), **options)
    assert isinstance(received, Received), received
    return received.deliveries


def delivery(of: Record | None = None, bus: BusConfig | None = None, **options: Any) -> Delivery:
    (only,) = deliveries(of, bus, **options)
    return only
