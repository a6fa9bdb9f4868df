"""What shipping does when the fulfilment of an order asks for it; what a handler returns is its answer."""

from fulfilment.events import ReleaseRequested, ReservationRequested, ShippingRequested

from django_eventbus import handler

from .events import ParcelReserved, ParcelShipped, ShippingRefused
from .models import Parcel

UNREACHABLE = {"Erewhon"}  # countries to which no carrier goes


@handler(ReservationRequested)
def reserve_parcel(event: ReservationRequested) -> ParcelReserved:
    """Set a parcel aside."""
    Parcel.objects.create(order_id=event.order_id, recipient=event.recipient, country=event.country)
    return ParcelReserved(order_id=event.order_id)


@handler(ShippingRequested)
def ship_parcel(event: ShippingRequested) -> ParcelShipped | ShippingRefused:
    """Hand the parcel to a carrier, if one takes it and it was not put back in the meantime."""
    parcel = Parcel.objects.select_for_update().get(order_id=event.order_id)
    if parcel.country in UNREACHABLE or parcel.state != Parcel.State.RESERVED:
        return ShippingRefused(order_id=event.order_id, reason=f"{parcel.country}, {parcel.state}")
    parcel.state = Parcel.State.SHIPPED
    parcel.save(update_fields=["state"])
    return ParcelShipped(order_id=event.order_id)


@handler(ReleaseRequested)
def release_parcel(event: ReleaseRequested) -> None:
    """Put the parcel back, unless it has left."""
    Parcel.objects.filter(order_id=event.order_id, state=Parcel.State.RESERVED).update(state=Parcel.State.RELEASED)
