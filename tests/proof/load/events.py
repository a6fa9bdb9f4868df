"""What the load's writers publish."""

from __future__ import annotations

import os

from django_eventbus.events.contract import event

TOPIC = os.environ.get("LOAD_TOPIC", "load")
PADDING = "." * 200


@event("load.stepped", topic=f"/{TOPIC}", domain="load", key="key")
class Stepped:
    key: str
    number: int
    padding: str = PADDING
