from __future__ import annotations

from dataclasses import field
from uuid import UUID

from django_eventbus import event, external_event


@event("tests.publishing.order-placed", topic="orders", domain="tests", key="order_id")
class OrderPlaced:
    order_id: UUID
    total: int = 0
    note: str = ""
    lines: list[str] = field(default_factory=list)


@event("tests.publishing.order-shipped", topic="orders", domain="tests", version=2, subject="orders/{number}")
class OrderShipped:
    number: int


@event("tests.publishing.order-noted", topic="orders", domain="tests", deprecated="publish OrderPlaced with a note")
class OrderNoted:
    number: int


@external_event("others.payments.payment-made", topic="payments", domain="others")
class PaymentMade:
    number: int
