"""A handler that waits 2 ms for somebody else and writes nothing."""

from __future__ import annotations

import time

from django_eventbus import handler

from .events import WAIT, OrderPlaced


@handler(OrderPlaced)
def call_somebody(event: OrderPlaced) -> None:
    time.sleep(WAIT)
