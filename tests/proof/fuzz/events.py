"""Which events do the handlers of the fuzz run take?"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from django_eventbus.events.contract import AwareDatetime, event
from django_eventbus.events.registry import upcaster

TOPIC = os.environ.get("FUZZ_TOPIC", "fuzz")


class Status(StrEnum):
    NEW = "new"
    PAID = "paid"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    sku: str
    quantity: int
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    street: str
    lines: list[str] = field(default_factory=list)


@event("fuzz.order-placed", topic=f"/{TOPIC}", domain="fuzz", key="order_id")
class OrderPlaced:
    order_id: UUID
    placed_at: AwareDatetime
    status: Status
    total: Decimal
    lines: list[Line]
    address: Address | None = None
    tags: dict[str, str] = field(default_factory=dict)
    note: str | None = None


@event("fuzz.measured", topic=f"/{TOPIC}", domain="fuzz", key="sensor")
class Measured:
    sensor: int
    value: float
    is_final: bool
    samples: list[float] = field(default_factory=list)


@event("fuzz.renamed", version=2, topic=f"/{TOPIC}", domain="fuzz", key="user_id")
class Renamed:
    user_id: int
    full_name: str


@upcaster(Renamed, from_version=1)
def joined_names(payload: dict[str, Any]) -> dict[str, Any]:
    return {"user_id": payload["user_id"], "full_name": " ".join((payload["first"], payload["last"]))}


@event("fuzz.priced", version=1, topic=f"/{TOPIC}", domain="fuzz", key="sku")
class PricedOnce:
    sku: str


@event("fuzz.priced", version=2, topic=f"/{TOPIC}", domain="fuzz", key="sku")
class Priced:
    sku: str
    price: Decimal
