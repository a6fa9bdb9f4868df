"""One bulk insert a list."""

from __future__ import annotations

from django_eventbus import handler

from .events import OrderPlaced
from .models import Effect


@handler(OrderPlaced, batch=500)
def record(events: list[OrderPlaced]) -> None:
    Effect.objects.bulk_create(
        [Effect(number=event.number, order=event.order, note=event.currency) for event in events]
    )
