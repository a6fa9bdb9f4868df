"""The other services: the stock reserves and releases, and every second order is paid."""

from __future__ import annotations

from collections.abc import Iterator

from django_eventbus.delivery.registry import handler
from tests.shop.models import Effect

from .events import Paid, Release, Reserve, Reserved


@handler(Reserve)
def reserve(event: Reserve) -> Iterator[Reserved | Paid]:
    Effect.objects.create(handler="reserve", number=event.order_id)
    yield Reserved(order_id=event.order_id)
    if event.order_id % 2 == 0:
        yield Paid(order_id=event.order_id)


@handler(Release)
def release(event: Release) -> None:
    Effect.objects.create(handler="release", number=event.order_id)
