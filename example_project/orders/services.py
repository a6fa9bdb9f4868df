"""How an order is placed."""

from decimal import Decimal

from django.db import transaction

from django_eventbus import publish

from .events import OrderPlaced
from .models import Order


def place_order(*, customer: str, country: str, total: Decimal) -> Order:
    """Store the order and publish `OrderPlaced`: both commit, or neither."""
    with transaction.atomic():
        order = Order.objects.create(customer=customer, country=country, total=total)
        publish(placed(order))
    return order


def placed(order: Order) -> OrderPlaced:
    """Say of an order that it was placed."""
    return OrderPlaced(order_id=order.id, customer=order.customer, country=order.country, total=order.total)
