"""How does a test let time pass for what waits in the database?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import F, QuerySet

from django_eventbus.models import OutboxLane, RetryMessage, ScheduledMessage
from django_eventbus.models.outbox import HELD_UNTIL

from .published import reachable_aliases

AT_LEAST = timedelta(milliseconds=1)


def advance_time(by: timedelta) -> None:
    """Let time pass for what waits: scheduled events, retries, keys in trouble. `drain()` then runs what is due.

    The clock of the process stays as it is: their moments come closer.
    """
    let_pass(by, reachable_aliases())


def next_wait(aliases: Sequence[str], *, looked_at: datetime) -> timedelta | None:
    """Return how long it takes until the next of them is due; None where nothing waits for a time.

    `looked_at` is when the last look at what is due began: what fell due since then has not been seen.
    """
    now = datetime.now(UTC)
    moments: list[datetime | None] = []
    for rows, column in _timed(aliases):
        # What was due of the schedule has moved, or belongs to a bus that is not drained: no time brings it on.
        ahead = rows.filter(**{f"{column}__gt": looked_at}) if rows.model is ScheduledMessage else rows
        moments.append(ahead.order_by(column).values_list(column, flat=True).first())
    waits = [moment - now for moment in moments if moment is not None]
    return max(min(waits), AT_LEAST) if waits else None


def let_pass(wait: timedelta, aliases: Sequence[str]) -> None:
    for rows, column in _timed(aliases):
        rows.update(**{column: F(column) - wait})


def _timed(aliases: Sequence[str]) -> Iterator[tuple[QuerySet[Any], str]]:
    for alias in aliases:
        yield RetryMessage.objects.using(alias).filter(available_at__lt=HELD_UNTIL), "available_at"
        yield OutboxLane.objects.using(alias).filter(available_at__lt=HELD_UNTIL), "available_at"
        yield ScheduledMessage.objects.all().using(alias), "due_at"
