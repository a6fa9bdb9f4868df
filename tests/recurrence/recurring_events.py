"""Events that recur in tests."""

from __future__ import annotations

from django_eventbus import event
from django_eventbus.events.contract import AwareDatetime


@event("tests.recurring.ticked", topic="ticks", domain="tests", key="name")
class Ticked:
    name: str
    at: AwareDatetime | None = None
