"""What the shipping app tells others."""

from uuid import UUID

from django_eventbus import event


@event("shop.shipping.parcel-reserved", entity="parcel", key="order_id")
class ParcelReserved:
    """A parcel was set aside for an order."""

    order_id: UUID


@event("shop.shipping.parcel-shipped", entity="parcel", key="order_id")
class ParcelShipped:
    """The parcel of an order has left."""

    order_id: UUID


@event("shop.shipping.shipping-refused", entity="parcel", key="order_id")
class ShippingRefused:
    """The parcel of an order cannot leave."""

    order_id: UUID
    reason: str
