"""What the fulfilment of an order asks others to do: billing and shipping handle these, and answer with events."""

from decimal import Decimal
from uuid import UUID

from django_eventbus import event


@event("shop.fulfilment.reservation-requested", entity="fulfilment", key="order_id")
class ReservationRequested:
    """Shipping is to set a parcel aside."""

    order_id: UUID
    recipient: str
    country: str


@event("shop.fulfilment.release-requested", entity="fulfilment", key="order_id")
class ReleaseRequested:
    """Shipping is to put back what it has set aside."""

    order_id: UUID


@event("shop.fulfilment.invoice-requested", entity="fulfilment", key="order_id")
class InvoiceRequested:
    """Billing is to write an invoice."""

    order_id: UUID
    tenant_id: UUID
    country: str
    total: Decimal


@event("shop.fulfilment.reminder-requested", entity="fulfilment", key="order_id")
class ReminderRequested:
    """Billing is to remind a customer of an invoice."""

    order_id: UUID


@event("shop.fulfilment.cancellation-requested", entity="fulfilment", key="order_id")
class CancellationRequested:
    """Billing is to cancel an invoice, and to return what was paid."""

    order_id: UUID


@event("shop.fulfilment.shipping-requested", entity="fulfilment", key="order_id")
class ShippingRequested:
    """Shipping is to hand the parcel to the carrier."""

    order_id: UUID
