from __future__ import annotations

from uuid import UUID

from django_eventbus import event


@event("tests.testing.order-placed", topic="orders", domain="tests", key="order_id")
class OrderPlaced:
    order_id: UUID
    total: int = 0


@event("tests.testing.invoice-issued", topic="invoices", domain="tests", key="order_id")
class InvoiceIssued:
    order_id: UUID
    total: int
