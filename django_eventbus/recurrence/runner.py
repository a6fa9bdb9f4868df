"""How does each occurrence happen once, whichever relay gets to it?

One transaction per occurrence: lock the row, call the function, publish, set the next time. A crash before the commit
leaves the row as it was, so the occurrence happens again, with the same event ids; a crash after it finds the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, connections, transaction

from django_eventbus.conf import BusConfig
from django_eventbus.consumer.connections import refresh_connections
from django_eventbus.delivery.retry import RetryPolicy
from django_eventbus.models.recurring import Declared, RecurringEvent
from django_eventbus.models.text import LONGEST_MESSAGE, storable
from django_eventbus.signals import emit, occurrence_failed, occurrence_published, occurrences_missed

from .occurrence import Plan, plan
from .publishing import publish_occurrence
from .registry import Recurring

LOOK_INTERVAL = timedelta(seconds=1)  # an operator's pause, and another relay's work, are seen after this long
GRACES = 2  # an occurrence is missed when it comes later than so many times GRACE: a standby may take over after one

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time of this machine."""
    return datetime.now(UTC)


class RecurringRunner:
    """Publish what recurs on one bus when it is due; belongs to the thread of the relay that calls it between steps."""

    def __init__(self, config: BusConfig, declared: Sequence[Recurring], *, clock: Clock = utc_now) -> None:
        self._config = config
        self._declared = {each.name: each for each in declared if each.bus == config.alias}
        self._clock = clock
        self._delays = RetryPolicy.from_config(config.retry)
        self._look_at: datetime | None = None

    def run_due(self) -> float | None:
        """Publish one occurrence of everything that is due; return the seconds until the next, None for nothing at all.

        A backlog comes back at once, so that the relay sends between two occurrences.
        """
        if not self._declared:
            return None
        now = self._clock()
        if self._look_at is not None and now < self._look_at <= now + LOOK_INTERVAL:
            return (self._look_at - now).total_seconds()
        refresh_connections()
        rows = self._rows(now)
        due = [row for row in rows if row.available_at is not None and row.available_at <= now]
        has_run = [self._run(row, now) for row in sorted(due, key=lambda row: (row.next_at, row.pk))]
        if any(has_run):
            self._look_at = None
            return 0.0
        times = [row.available_at for row in rows if row.available_at is not None and row.available_at > now]
        self._look_at = min([*times, now + LOOK_INTERVAL])
        return (self._look_at - now).total_seconds()

    def _rows(self, now: datetime) -> list[RecurringEvent]:
        rows = RecurringEvent.objects.using(self._config.database)
        found = rows.of(self._config.alias, self._declared)
        known = {row.name: row.schedule for row in found}
        unknown = [each for each in self._declared.values() if known.get(each.name) != str(each.schedule)]
        if unknown:
            rows.declare(
                self._config.alias,
                [
                    Declared(name=each.name, schedule=str(each.schedule), next_at=each.schedule.after(now))
                    for each in unknown
                ],
            )
            found = rows.of(self._config.alias, self._declared)
        return [row for row in found if not row.is_paused]

    def _run(self, row: RecurringEvent, now: datetime) -> bool:
        declared, connection = self._declared[row.name], connections[self._config.database]
        connection.ensure_connection()
        before = connection.connection
        try:
            return self._occur(declared, row.pk, now)
        except Exception as error:  # the function is the user's: what it raises must not end the relay
            is_lost = connection.connection is not before and isinstance(error, OperationalError | InterfaceError)
            if is_lost:
                raise  # an outage, or an eviction, is no failure of the function: the relay waits for its end
            self._note_failure(declared, row.pk, now, error)
            return False

    def _occur(self, declared: Recurring, pk: int, now: datetime) -> bool:
        using = self._config.database
        with transaction.atomic(using=using):
            grace = self._config.outbox.grace
            row = RecurringEvent.objects.using(using).take(pk, now=now, grace=grace)
            if row is None or row.next_at is None or row.schedule != str(declared.schedule):
                return False
            chosen = plan(
                declared.schedule, due_at=row.next_at, now=now, missed=declared.missed, patience=GRACES * grace
            )
            ids = [] if chosen.at is None else publish_occurrence(self._config, declared, at=chosen.at)
            row.arrive(published_at=chosen.at, next_at=chosen.next_at)
        self._announce(declared, chosen, ids)
        return True

    def _announce(self, declared: Recurring, chosen: Plan, ids: Sequence[object]) -> None:
        place: dict[str, Any] = {"bus": self._config.alias, "using": self._config.database, "name": declared.name}
        if chosen.missed_since is not None:
            emit(occurrences_missed, **place, since=chosen.missed_since, missed=declared.missed)
        if chosen.at is not None:
            emit(occurrence_published, **place, at=chosen.at, event_ids=tuple(ids))

    def _note_failure(self, declared: Recurring, pk: int, now: datetime, error: Exception) -> None:
        using = self._config.database
        with transaction.atomic(using=using):
            row = RecurringEvent.objects.using(using).take(pk, now=now, grace=self._config.outbox.grace)
            if row is None or row.next_at is None:
                return  # somebody else got to it, or is at it: where it is still due, it fails again
            at, again_at = row.next_at, self._clock() + self._delays.delay_after(row.failures + 1)
            following = declared.schedule.after(now)
            row.fail(
                storable(f"{type(error).__name__}: {error}", limit=LONGEST_MESSAGE),
                again_at=again_at if following is None else min(again_at, following),
            )
        emit(
            occurrence_failed,
            bus=self._config.alias,
            using=using,
            name=declared.name,
            at=at,
            attempt=row.failures,
            error=error,
            again_at=row.available_at,
        )
