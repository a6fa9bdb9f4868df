"""Which runs of which handlers fail, decided so that a judge can foretell it; ``HISTORY_CALM`` lets none fail.

A list of which one fails is halved down to that one, so that few failures are many runs.
"""

from __future__ import annotations

import os

from django_eventbus.delivery.retry import RetryPolicy
from tests.history.plan import draw

POLICY = RetryPolicy(max_attempts=4, delays=(0.15,), jitter=0)
IS_CALM = bool(os.environ.get("HISTORY_CALM"))


def fails(handler: str, key: str, number: int, attempt: int) -> bool:
    """Four messages in a thousand fail once to three times."""
    drawn = draw(handler, key, number)
    return not IS_CALM and drawn < 4 and attempt <= 1 + drawn % 3


def dies(handler: str, key: str, number: int) -> bool:
    """One message in a thousand fails however often it is tried."""
    return not IS_CALM and draw(handler, key, number) == 999
