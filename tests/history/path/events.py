"""What writers publish, and what a handler publishes when it has handled some of it."""

from __future__ import annotations

import os

from django_eventbus.events.contract import event

TOPIC = os.environ.get("HISTORY_TOPIC", "path")
ECHO_EVERY = 5


@event("path.stepped", topic=f"/{TOPIC}.steps", domain="path", key="key")
class Stepped:
    key: str
    number: int


@event("path.echoed", topic=f"/{TOPIC}.echoes", domain="path", key="key")
class Echoed:
    key: str
    number: int
