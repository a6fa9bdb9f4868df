"""What do tests of a project that publishes and handles events need?"""

from __future__ import annotations

from django_eventbus.delivery.context import make_context

from .capture import CapturedEvents, assert_not_published, assert_published, captured_events
from .clock import advance_time
from .draining import drain
from .published import PublishedEvent
from .report import DrainReport, FailedRun
from .scenario import SagaScenario

__all__ = [
    "CapturedEvents",
    "DrainReport",
    "FailedRun",
    "PublishedEvent",
    "SagaScenario",
    "advance_time",
    "assert_not_published",
    "assert_published",
    "captured_events",
    "drain",
    "make_context",
]
