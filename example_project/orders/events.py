"""What the orders app tells others."""

from decimal import Decimal
from uuid import UUID

from django_eventbus import event


@event("shop.orders.order-placed", entity="order", key="order_id")
class OrderPlaced:
    """A customer has placed an order with a tenant of the shop."""

    order_id: UUID
    tenant_id: UUID
    customer: str
    country: str
    total: Decimal
