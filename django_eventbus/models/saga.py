"""Which sagas are under way, and how far has each come?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from django.db import connections, models
from django.db.models.functions import Now

COLUMNS = "id, version, status, state, state_version, timeouts, compensations, bus"
FIND_ALL = f"""
SELECT saga, key, {COLUMNS}
FROM eventbus_saga_state s JOIN unnest(%s::text[], %s::text[]) w(saga, key) USING (saga, key) ORDER BY s.id
"""  # noqa: S608
FIND = f"SELECT {COLUMNS} FROM eventbus_saga_state WHERE saga = %s AND key = %s"  # noqa: S608


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


class SagaStateQuerySet(models.QuerySet["SagaState"]):
    def find(self, saga: str, key: str, *, locks: bool) -> StoredSaga | None:
        """Return an instance; with its row lock where the database has any, so that no other step passes."""
        connection = connections[self.db]
        suffix = " FOR UPDATE" if locks and connection.features.has_select_for_update else ""
        with connection.cursor() as cursor:
            cursor.execute(FIND + suffix, [saga, key])
            row = cursor.fetchone()
        return None if row is None else StoredSaga._make(row)

    def find_all(self, wanted: Iterable[tuple[str, str]], *, locks: bool) -> dict[tuple[str, str], StoredSaga]:
        """Return instances by saga and key, in one round trip and locked in one order. PostgreSQL only.

        Two transactions that step into the same instances so wait for each other in one direction.
        """
        sagas, keys = zip(*wanted, strict=True)
        with connections[self.db].cursor() as cursor:
            cursor.execute(FIND_ALL + (" FOR UPDATE OF s" if locks else ""), [list(sagas), list(keys)])
            return {(row[0], row[1]): StoredSaga._make(row[2:]) for row in cursor.fetchall()}


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
        constraints = [models.UniqueConstraint(fields=["key", "saga"], name="eventbus_saga_unique")]
        indexes = [
            models.Index(fields=["status", "-id"], name="eventbus_saga_status"),
            models.Index(fields=["saga", "-id"], name="eventbus_saga_name"),
            models.Index(fields=["id"], name="eventbus_saga_open", condition=models.Q(ended_at__isnull=True)),
            models.Index(fields=["ended_at"], name="eventbus_saga_ended", condition=models.Q(ended_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.saga} {self.key}"


class SagaModel(models.Model):
    """Be the base of a model that a saga keeps as its state; abstract."""

    saga_key = models.TextField(unique=True, editable=False)  # which instance it belongs to

    class Meta:
        abstract = True
