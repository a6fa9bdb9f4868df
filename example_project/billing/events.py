"""What the billing app tells others."""

from decimal import Decimal
from uuid import UUID

from django_eventbus import event


@event("shop.billing.invoice-issued", entity="invoice", key="order_id")
class InvoiceIssued:
    """An order was invoiced."""

    order_id: UUID
    gross: Decimal
