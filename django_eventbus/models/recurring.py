"""When does each recurring event happen next, and who is publishing it at this moment?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connections, models

TRY_LOCK = "SELECT pg_try_advisory_xact_lock(('eventbus_recurring'::regclass::oid::bigint << 32) | %s)"
EVICT = """
SELECT count(pg_terminate_backend(l.pid)) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid = 'eventbus_recurring'::regclass::oid AND l.objid = %s AND l.objsubid = 1
  AND a.xact_start < clock_timestamp() - make_interval(secs => %s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """Be what the code says of one recurring event."""

    name: str
    schedule: str  # as text: where it differs from the row's, the row is planned anew
    next_at: datetime | None


class RecurringQuerySet(models.QuerySet["RecurringEvent"]):
    def of(self, bus: str, names: Iterable[str]) -> list[RecurringEvent]:
        """Return the rows of these names."""
        return list(self.filter(bus=bus, name__in=list(names)))

    def declare(self, bus: str, declared: Iterable[Declared]) -> None:
        """Write what is new, and plan anew what changed; once, when several relays of one code do it at a time."""
        new = [
            RecurringEvent(bus=bus, name=d.name, schedule=d.schedule, next_at=d.next_at, available_at=d.next_at)
            for d in declared
        ]
        self.bulk_create(new, ignore_conflicts=True)
        for row in new:
            changed = self.filter(bus=bus, name=row.name).exclude(schedule=row.schedule)
            changed.update(
                schedule=row.schedule, next_at=row.next_at, available_at=row.next_at, failures=0, last_error=""
            )

    def take(self, pk: int, *, now: datetime, grace: timedelta) -> RecurringEvent | None:
        """Lock a row that is due for the rest of the caller's transaction; None where it is not, or another has it.

        Must run inside atomic. Nobody waits for a row: a holder that froze would let everyone wait. One that takes
        longer than `grace` is evicted, and its transaction rolled back.
        """
        connection = connections[self.db]
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(TRY_LOCK, [pk])
                if not cursor.fetchone()[0]:
                    cursor.execute(EVICT, [pk, grace.total_seconds()])
                    return None
            else:
                # The write lock first: a transaction that has read cannot take it once another writer was faster.
                cursor.execute("UPDATE eventbus_recurring SET id = id WHERE id = %s", [pk])
        due = self.filter(pk=pk, is_paused=False, available_at__lte=now)
        return due.select_for_update(skip_locked=True).first()  # an operator's act locks the row alone

    def lock(self, pk: int) -> RecurringEvent | None:
        """Lock a row, due or not, after whoever has it; must run inside atomic."""
        return self.select_for_update().filter(pk=pk).first()


class RecurringEvent(models.Model):
    """Be the place where one recurring event has arrived; what it publishes, and when, is declared in code."""

    id = models.AutoField(primary_key=True)  # 32 bits: the low half of the advisory lock's key
    bus = models.TextField()  # alias in settings
    name = models.TextField()
    schedule = models.TextField()  # as it was declared when this row was planned
    next_at = models.DateTimeField(null=True)  # the occurrence that comes next; null: there will be none
    available_at = models.DateTimeField(null=True)  # when the relay looks at it: next_at, or later after a failure
    last_at = models.DateTimeField(null=True)  # the last occurrence that was published
    is_paused = models.BooleanField(default=False)
    failures = models.IntegerField(default=0)  # attempts of the next occurrence that failed
    last_error = models.TextField(blank=True, default="")

    objects = RecurringQuerySet.as_manager()

    class Meta:
        db_table = "eventbus_recurring"
        default_permissions = ("view",)
        verbose_name = "recurring event"
        constraints = [models.UniqueConstraint(fields=["bus", "name"], name="eventbus_recurring_unique")]

    def __str__(self) -> str:
        return f"{self.name} ({self.schedule})"

    def arrive(self, *, published_at: datetime | None, next_at: datetime | None) -> None:
        """Go on to the next occurrence, in the transaction that has published this one."""
        self.last_at = published_at or self.last_at
        self.next_at = self.available_at = next_at
        self.failures, self.last_error = 0, ""
        fields = ["last_at", "next_at", "available_at", "failures", "last_error"]
        self.save(update_fields=fields, using=self._state.db)

    def fail(self, error: str, *, again_at: datetime) -> None:
        """Note a failed attempt, in a transaction after the one that it broke."""
        self.failures += 1
        self.last_error = error
        self.available_at = again_at
        self.save(update_fields=["failures", "last_error", "available_at"], using=self._state.db)

    def pause(self) -> None:
        """Let no occurrence happen until `resume`."""
        self.is_paused = True
        self.save(update_fields=["is_paused"], using=self._state.db)

    def resume(self, *, next_at: datetime | None) -> None:
        """Go on with an occurrence to come: those that fell into the pause do not happen."""
        self.is_paused = False
        self.next_at = self.available_at = next_at
        self.failures, self.last_error = 0, ""
        fields = ["is_paused", "next_at", "available_at", "failures", "last_error"]
        self.save(update_fields=fields, using=self._state.db)
