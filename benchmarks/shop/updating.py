"""One ORM update a message."""

from __future__ import annotations

from django_eventbus import handler

from .events import KEYS, OrderPlaced
from .models import Order


@handler(OrderPlaced)
def note(event: OrderPlaced) -> None:
    Order.objects.filter(pk=1 + event.number % KEYS).update(state=str(event.number))
