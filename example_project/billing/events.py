"""What the billing app tells others: one topic for all that happens to invoices, in order for each tenant."""

from decimal import Decimal
from uuid import UUID

from django_eventbus import event


@event("shop.billing.invoice-issued", entity="invoice", key="tenant_id")
class InvoiceIssued:
    """An order was invoiced."""

    tenant_id: UUID
    order_id: UUID
    gross: Decimal


@event("shop.billing.invoice-paid", entity="invoice", key="tenant_id")
class InvoicePaid:
    """A cashier has taken the money."""

    tenant_id: UUID
    order_id: UUID
    cashier_id: UUID


@event("shop.billing.invoice-cancelled", entity="invoice", key="tenant_id")
class InvoiceCancelled:
    """An invoice is void; what was paid goes back."""

    tenant_id: UUID
    order_id: UUID
    refund: Decimal
