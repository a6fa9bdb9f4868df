"""A coroutine that waits 2 ms for somebody else and writes nothing."""

from __future__ import annotations

import asyncio

from django_eventbus import handler

from .events import WAIT, OrderPlaced


@handler(OrderPlaced)
async def call_somebody(event: OrderPlaced) -> None:
    await asyncio.sleep(WAIT)
