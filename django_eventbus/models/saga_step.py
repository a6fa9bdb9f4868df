"""How is one step of a saga written: the instance as it is now, and a line of its history?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db import connections, models
from django.db.models.functions import Now

from .saga import SagaStatus

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
    %(status)s, %(remembered)s, %(outgoing)s, %(timeout_changes)s, %(actor)s, %(reason)s, {now}
"""

NOW = {"postgresql": "STATEMENT_TIMESTAMP()", "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')"}


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


def record_step(step: Step, *, using: str) -> bool:
    """Write one step; return False, with nothing written, where another step came first. Must run inside atomic.

    The version decides, also under the row lock: a lost update is impossible.
    """
    connection = connections[using]
    written, remembered = _statements(connection.vendor, step.id is None, step.status.is_final)
    values: dict[str, Any] = {name: getattr(step, name) for name in Step.__slots__}
    values["status"] = step.status.value
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(written, values)
            return bool(cursor.rowcount == 1)
        cursor.execute(written, values)
        row = cursor.fetchone()
        if row is not None:
            cursor.execute(remembered, {**values, "id": row[0]})
        return row is not None


@cache
def _statements(vendor: str, is_new: bool, is_final: bool) -> tuple[str, str]:  # noqa: FBT001
    """Return what writes the instance, and what then adds to its history; PostgreSQL does both in the first."""
    now = NOW[vendor]
    written = (STARTS if is_new else MOVES).format(now=now, ended_at=now if is_final else "NULL")
    if vendor == "postgresql":
        history = REMEMBERS.format(instance="written.id", now=now)
        return f"WITH written AS ({written}) {history} FROM written", ""
    return written, REMEMBERS.format(instance="%(id)s", now=now)


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
