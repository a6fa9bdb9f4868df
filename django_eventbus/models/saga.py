"""Which sagas are under way, how far has each come, and by which steps?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Now

COLUMNS = "id, version, status, state, state_version, timeouts, compensations, bus"
FIND = f"SELECT {COLUMNS} FROM eventbus_saga_state WHERE saga = %s AND key = %s"  # noqa: S608

STARTS = """
INSERT INTO eventbus_saga_state (saga, key, bus, version, status, state, state_version, timeouts, compensations,
    created_at, updated_at, ended_at)
VALUES (%(saga)s, %(key)s, %(bus)s, 1, %(status)s, %(state)s, %(state_version)s, %(timeouts)s, %(compensations)s,
    {now}, {now}, {ended_at})
ON CONFLICT (saga, key) DO NOTHING RETURNING id
"""
MOVES = """
UPDATE eventbus_saga_state SET version = version + 1, status = %(status)s, state = %(state)s,
    state_version = %(state_version)s, timeouts = %(timeouts)s, compensations = %(compensations)s, updated_at = {now},
    ended_at = {ended_at}
WHERE id = %(id)s AND version = %(version)s - 1 RETURNING id
"""
REMEMBERS = """
INSERT INTO eventbus_saga_history (instance_id, version, message, message_id, source, attempt, outcome, method, status,
    state, outgoing, timeouts, actor, reason, occurred_at)
SELECT {instance}, %(version)s, %(message)s, %(message_id)s, %(source)s, %(attempt)s, %(outcome)s, %(method)s,
    %(status)s, %(state)s, %(outgoing)s, %(timeout_changes)s, %(actor)s, %(reason)s, {now}
"""

NOW = {"postgresql": "STATEMENT_TIMESTAMP()", "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')"}


class SagaStatus(models.TextChoices):
    RUNNING = "running", "running"
    COMPENSATING = "compensating", "compensating"
    COMPLETED = "completed", "completed"
    COMPENSATED = "compensated", "compensated"

    @property
    def is_final(self) -> bool:
        """Say whether nothing moves the instance any more."""
        return self in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED)


class StoredSaga(NamedTuple):
    """One row of the table, as a step reads it."""

    id: int
    version: int
    status: str
    state: str | None
    state_version: str
    timeouts: str
    compensations: str
    bus: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Hold the columns that one step writes: the instance as it is afterwards, and how it came there."""

    saga: str
    key: str
    bus: str  # alias in settings
    id: int | None  # None: the step starts the instance
    version: int  # after the step; the first one is 1
    status: SagaStatus
    state: str | None  # JSON; None: the state is a model of the project
    state_version: str
    timeouts: str  # JSON
    compensations: str  # JSON
    message: str  # name of the event, of the timeout, or of what an operator did
    message_id: str = ""
    source: str = ""
    attempt: int = 1
    outcome: str
    method: str = ""  # of the saga
    remembered: str | None  # JSON: the state for the history, also that of a model
    outgoing: str = "[]"  # JSON
    timeout_changes: str = "{}"  # JSON
    actor: str = ""
    reason: str = ""


class SagaStateQuerySet(models.QuerySet["SagaState"]):
    def find(self, saga: str, key: str, *, locks: bool) -> StoredSaga | None:
        """Return an instance; with its row lock where the database has any, so that no other step passes."""
        connection = connections[self.db]
        suffix = " FOR UPDATE" if locks and connection.features.has_select_for_update else ""
        with connection.cursor() as cursor:
            cursor.execute(FIND + suffix, [saga, key])
            row = cursor.fetchone()
        return None if row is None else StoredSaga._make(row)

    def record(self, step: Step) -> bool:
        """Write one step and its line of the history; return False where another step came first.

        Must run inside atomic. The version decides, also under the row lock: a lost update is impossible.
        """
        connection = connections[self.db]
        values = _values(step)
        if connection.vendor == "postgresql":
            return _record_at_once(connection, step, values)
        with connection.cursor() as cursor:
            cursor.execute(_written(connection, step), values)
            row = cursor.fetchone()
            if row is None:
                return False
            history = REMEMBERS.format(instance="%(id)s", now=NOW[connection.vendor])
            cursor.execute(history, {**values, "id": row[0], "state": step.remembered})
        return True


def _record_at_once(connection: BaseDatabaseWrapper, step: Step, values: Mapping[str, object]) -> bool:
    history = REMEMBERS.format(instance="written.id", now=NOW["postgresql"]).replace("%(state)s", "%(remembered)s")
    statement = f"WITH written AS ({_written(connection, step)}) {history} FROM written"
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.rowcount == 1


def _written(connection: BaseDatabaseWrapper, step: Step) -> str:
    now = NOW[connection.vendor]
    statement = STARTS if step.id is None else MOVES
    return statement.format(now=now, ended_at=now if step.status.is_final else "NULL")


def _values(step: Step) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(step, name) for name in step.__dataclass_fields__}
    values["status"] = step.status.value
    return values


class SagaState(models.Model):
    """Be one instance of a saga; `key` says what it is about."""

    id = models.BigAutoField(primary_key=True)
    saga = models.TextField()  # stored name: that of its handler
    key = models.TextField()  # what its events have in common
    bus = models.TextField()  # alias in settings on which it was started
    version = models.BigIntegerField()  # steps taken: guards against lost updates
    status = models.TextField(choices=SagaStatus.choices)
    state = models.TextField(null=True)  # JSON, exactly; None: the state is a model of the project
    state_version = models.TextField()  # of the class that wrote it; upcast where it is read
    timeouts = models.TextField(default="{}")  # JSON: name -> [event id, due]
    compensations = models.TextField(default="[]")  # JSON: what compensate() would publish, the oldest first
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)  # completed or compensated

    objects = SagaStateQuerySet.as_manager()

    class Meta:
        db_table = "eventbus_saga_state"
        default_permissions = ("view",)
        verbose_name = "saga"
        constraints = [models.UniqueConstraint(fields=["saga", "key"], name="eventbus_saga_unique")]
        indexes = [
            models.Index(fields=["status", "-id"], name="eventbus_saga_status"),
            models.Index(fields=["ended_at"], name="eventbus_saga_ended", condition=models.Q(ended_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.saga} {self.key}"


class SagaHistory(models.Model):
    """Be one step that an instance took; never changed, deleted with its instance."""

    pk = models.CompositePrimaryKey("instance_id", "version")
    instance_id = models.BigIntegerField()  # SagaState row
    version = models.BigIntegerField()  # of the instance after the step
    message = models.TextField()  # name of the event, of the timeout, or of what an operator did
    message_id = models.TextField(blank=True, default="")
    source = models.TextField(blank=True, default="")
    attempt = models.IntegerField(default=1)  # of the delivery that succeeded
    outcome = models.TextField()
    method = models.TextField(blank=True, default="")  # of the saga; empty where none ran
    status = models.TextField(choices=SagaStatus.choices)  # after the step
    state = models.TextField(null=True)  # JSON, after the step
    outgoing = models.TextField(default="[]")  # JSON: [[event name, event id], ..]
    timeouts = models.TextField(default="{}")  # JSON: what the step set and cancelled
    actor = models.TextField(blank=True, default="")  # the operator, where it was one
    reason = models.TextField(blank=True, default="")
    occurred_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "eventbus_saga_history"
        default_permissions = ("view",)
        verbose_name = "saga step"

    def __str__(self) -> str:
        return f"{self.instance_id} {self.version} {self.message}"


class SagaModel(models.Model):
    """Be the base of a model that a saga keeps as its state; abstract."""

    saga_key = models.TextField(unique=True, editable=False)  # which instance it belongs to

    class Meta:
        abstract = True
