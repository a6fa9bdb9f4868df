"""What shipping does when others tell it something."""

from billing.events import InvoiceIssued
from orders.events import OrderPlaced

from django_eventbus import MessageContext, handler

from .models import Parcel


@handler(OrderPlaced)
def pack_parcel(event: OrderPlaced, context: MessageContext) -> None:
    """Pack a parcel; a failing invoice neither delays nor repeats this."""
    Parcel.objects.update_or_create(order_id=event.order_id, defaults={"recipient": event.customer})


@handler(InvoiceIssued)
def release_parcel(event: InvoiceIssued) -> None:
    """Let the parcel go; packing and invoicing may happen in either order, so none need exist yet."""
    Parcel.objects.update_or_create(order_id=event.order_id, defaults={"is_released": True})
