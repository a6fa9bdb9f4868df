"""In which way do commits reach the relay of a bus?"""

from __future__ import annotations

from typing import Literal

from django.db import connections

from django_eventbus.conf import LOCAL_TRANSPORT, BusConfig

Way = Literal["notify", "thread", "celery", "poll"]


def way_of(config: BusConfig, using: str) -> Way:
    """Return the way in which commits on this alias wake the relay of this bus."""
    if config.outbox.wake_with is not None:
        return config.outbox.wake_with
    if config.transport == LOCAL_TRANSPORT and not config.is_companion:
        return "thread"
    return "notify" if connections[using].vendor == "postgresql" else "poll"
