"""One ORM insert a message."""

from __future__ import annotations

from django_eventbus import handler

from .events import OrderPlaced
from .models import Effect


@handler(OrderPlaced)
def record(event: OrderPlaced) -> None:
    Effect.objects.create(number=event.number, order=event.order, note=event.currency)
