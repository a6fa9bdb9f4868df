"""How an order is placed."""

from decimal import Decimal
from uuid import UUID

from django.db import transaction

from django_eventbus import publish

from .events import OrderPlaced
from .models import Order


def place_order(*, tenant_id: UUID, customer: str, country: str, total: Decimal) -> Order:
    """Store the order and publish `OrderPlaced`: both commit, or neither."""
    with transaction.atomic():
        order = Order.objects.create(tenant_id=tenant_id, customer=customer, country=country, total=total)
        publish(placed(order))
    return order


def placed(order: Order) -> OrderPlaced:
    """Say of an order that it was placed."""
    return OrderPlaced(
        order_id=order.id,
        tenant_id=order.tenant_id,
        customer=order.customer,
        country=order.country,
        total=order.total,
    )
