"""Which messages could not be handled or sent, and why?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import msgspec
from django.db import connections, models
from django.db.models.functions import Now

from .outbox import HELD_UNTIL
from .retry import RetryMessage, Verdict

# One message, one line: dying again brings its line back to `dead` with the newest exception and one more death.
DIES_AGAIN = """
ON CONFLICT (inbox_key) DO UPDATE SET status = 'dead', times_dead = eventbus_dead_letter.times_dead + 1,
    reason = excluded.reason, exception_type = excluded.exception_type,
    exception_message = excluded.exception_message, traceback = excluded.traceback, attempts = excluded.attempts,
    headers = excluded.headers, payload = excluded.payload, failed_at = excluded.failed_at
"""

# The old position puts the message back in its place in the key's order. A head that its lane held is not inserted
# again: the owner of the partition finds the verdict on it.
REVIVE = """
INSERT INTO eventbus_retry (key, partition_id, lane, position, handler, topic, message_id, event_name, record_key,
    headers, payload, attempts, available_at, verdict, dead_letter_id, error_type, error_message)
SELECT inbox_key, partition_id, lane, position, handler, topic, message_id, event_name, key, headers, payload, 0, {now},
    'replay', id, '', ''
FROM eventbus_dead_letter WHERE id IN ({ids})
ON CONFLICT (key) DO UPDATE SET verdict = 'replay', attempts = 0, available_at = excluded.available_at,
    dead_letter_id = excluded.dead_letter_id
"""

NOW = {"postgresql": "STATEMENT_TIMESTAMP()", "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')"}

_headers_type = msgspec.msgpack.Decoder(list[tuple[str, bytes | None]])


def pack_headers(headers: Sequence[tuple[str, bytes | None]]) -> bytes:
    """Write a record's headers so that order, repetition, bytes and nulls survive."""
    return msgspec.msgpack.encode(headers)


def unpack_headers(packed: bytes) -> list[tuple[str, bytes | None]]:
    """Read what `pack_headers` wrote."""
    return _headers_type.decode(packed)


class Direction(models.TextChoices):
    IN = "in", "in"
    OUT = "out", "out"


class DeadLetterStatus(models.TextChoices):
    DEAD = "dead", "dead"
    REPLAYING = "replaying", "replaying"
    REPLAYED = "replayed", "replayed"
    DISCARDED = "discarded", "discarded"


class DeadLetterReason(models.TextChoices):
    ATTEMPTS_EXHAUSTED = "attempts_exhausted", "attempts exhausted"
    NEVER_RETRIED = "never_retried", "exception is never retried"
    REJECTED = "rejected", "rejected by the handler"
    UNDECODABLE = "undecodable", "undecodable"
    UNKNOWN_EVENT = "unknown_event", "unknown event"
    PROCESS_DIED = "process_died", "the process died on it"
    HANDLER_RETIRED = "handler_retired", "handler retired"
    REFUSED_BY_BROKER = "refused_by_broker", "refused by the broker"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDeadLetter:
    """Hold the columns of a delivery, or of an unreadable record, that ends."""

    reason: DeadLetterReason
    bus: str
    group: str
    handler: str  # empty: the record reached no handler
    event_name: str = ""
    event_version: str = ""
    message_id: str = ""
    source: str = ""
    correlation_id: str = ""
    tenant_id: str = ""
    topic: str
    partition_id: int
    partition_number: int
    position: int
    lane: UUID
    inbox_key: UUID
    key: bytes | None
    headers: bytes  # pack_headers()
    payload: bytes | None
    exception_type: str = ""
    exception_message: str = ""
    traceback: str = ""
    attempts: int = 0
    saga: str = ""
    saga_key: str = ""
    published_at: datetime | None = None
    first_failed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Say which dead letters an operator means; what is None does not narrow."""

    bus: str
    handler: str | None = None
    event: str | None = None
    exception: str | None = None  # class, with or without its module
    since: datetime | None = None  # died at this time or later


class DeadLetterQuerySet(models.QuerySet["DeadLetter"]):
    def dead(self, chosen: Selection) -> DeadLetterQuerySet:
        """Return the selected ones that are dead, the oldest first."""
        found = self.filter(bus=chosen.bus, status=DeadLetterStatus.DEAD)
        if chosen.handler is not None:
            found = found.filter(handler=chosen.handler)
        if chosen.event is not None:
            found = found.filter(event_name=chosen.event)
        if chosen.exception is not None:
            by_class = models.Q(exception_type__endswith=f".{chosen.exception}")
            found = found.filter(models.Q(exception_type=chosen.exception) | by_class)
        if chosen.since is not None:
            found = found.filter(failed_at__gte=chosen.since)
        return found.order_by("id")

    def by_cause(self) -> list[tuple[str, str, int]]:
        """Count them by handler and exception, the most frequent first."""
        causes = self.order_by().values_list("handler", "exception_type").annotate(count=models.Count("id"))
        return list(causes.order_by("-count", "handler", "exception_type"))

    def bury(self, letters: Sequence[NewDeadLetter]) -> dict[UUID, int]:
        """Insert dead letters in the caller's transaction and return their ids by inbox key.

        A message that was dead before, was replayed and died again updates its line: `times_dead` says how often.
        """
        if not letters:
            return {}
        connection = connections[self.db]
        columns = [_field(f.name) for f in fields(NewDeadLetter)]
        places = f"('in', 'dead', 1, {', '.join(['%s'] * len(columns))})"
        names = ", ".join(str(column.column) for column in columns)
        sql = (
            f"INSERT INTO eventbus_dead_letter (direction, status, times_dead, {names}) "  # noqa: S608
            f"VALUES {', '.join([places] * len(letters))} {DIES_AGAIN} RETURNING inbox_key, id"
        )
        values = [c.get_db_prep_save(getattr(letter, c.name), connection) for letter in letters for c in columns]
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return {_as_uuid(key): number for key, number in cursor.fetchall()}

    def lock_dead(self, ids: Iterable[int]) -> list[DeadLetter]:
        """Lock those of these rows that are dead, and return them without bytes; must run inside atomic."""
        dead = self.filter(id__in=list(ids), status=DeadLetterStatus.DEAD).order_by("id")
        return list(dead.select_for_update().defer("headers", "payload", "traceback"))

    def revive(self, ids: Sequence[int]) -> None:
        """Queue inbound dead letters at their old places; must run inside atomic, after `lock_dead`."""
        if not ids:
            return
        connection = connections[self.db]
        sql = REVIVE.format(now=NOW[connection.vendor], ids=", ".join(["%s"] * len(ids)))
        with connection.cursor() as cursor:
            cursor.execute(sql, ids)
        self.filter(id__in=ids).update(status=DeadLetterStatus.REPLAYING)

    def release_held(self, letters: Iterable[DeadLetter], *, verdict: Verdict) -> None:
        """Set a verdict on the heads that lanes hold for these dead letters; their owner carries it out."""
        keys = [letter.inbox_key for letter in letters if letter.inbox_key is not None]
        held = RetryMessage.objects.using(self.db).filter(key__in=keys, available_at=HELD_UNTIL)
        held.update(verdict=verdict, available_at=Now())

    def mark_replayed(self, ids: Iterable[int]) -> int:
        """Say that replays succeeded; called by the owner of the partition in the transaction of their effects."""
        replaying = self.filter(id__in=list(ids), status=DeadLetterStatus.REPLAYING)
        return replaying.update(status=DeadLetterStatus.REPLAYED)


class DeadLetter(models.Model):
    """Keep one message that ended, with its exact bytes, until an operator decides."""

    id = models.BigAutoField(primary_key=True)
    direction = models.TextField(choices=Direction.choices)
    status = models.TextField(choices=DeadLetterStatus.choices, default=DeadLetterStatus.DEAD)
    reason = models.TextField(choices=DeadLetterReason.choices)
    bus = models.TextField()  # alias in settings
    group = models.TextField(db_column="group_name", blank=True, default="")
    handler = models.TextField(blank=True, default="")
    event_name = models.TextField(blank=True, default="")
    event_version = models.TextField(blank=True, default="")
    message_id = models.TextField(blank=True, default="")
    source = models.TextField(blank=True, default="")
    correlation_id = models.TextField(blank=True, default="")
    tenant_id = models.TextField(blank=True, default="")
    topic = models.TextField()
    partition_id = models.IntegerField(null=True)  # PartitionEpoch row; None when outbound
    partition_number = models.IntegerField(null=True)
    position = models.BigIntegerField(null=True)  # broker offset, or outbox id
    lane = models.UUIDField(null=True)
    inbox_key = models.UUIDField(null=True, unique=True)  # a message that dies again updates its line
    key = models.BinaryField(null=True)
    headers = models.BinaryField()  # pack_headers()
    payload = models.BinaryField(null=True)
    exception_type = models.TextField(blank=True, default="")
    exception_message = models.TextField(blank=True, default="")
    traceback = models.TextField(blank=True, default="")
    attempts = models.IntegerField(default=0)
    times_dead = models.IntegerField(default=1)
    saga = models.TextField(blank=True, default="")  # it was on its way to this saga, or was published by it
    saga_key = models.TextField(blank=True, default="")
    published_at = models.DateTimeField(null=True)
    first_failed_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(db_default=Now())

    objects = DeadLetterQuerySet.as_manager()

    class Meta:
        db_table = "eventbus_dead_letter"
        default_permissions = ("view",)
        permissions = [
            ("replay_deadletter", "Can replay dead letters"),
            ("discard_deadletter", "Can discard dead letters"),
            ("edit_deadletter", "Can edit dead letters before a replay"),
            ("view_payload", "Can see payloads of messages"),
        ]
        verbose_name = "dead letter"
        indexes = [
            models.Index(fields=["status", "-id"], name="eventbus_dead_status"),
            models.Index(fields=["handler", "-id"], name="eventbus_dead_handler"),
            models.Index(fields=["event_name", "-id"], name="eventbus_dead_event"),
            models.Index(fields=["exception_type", "-id"], name="eventbus_dead_exception"),
            models.Index(fields=["message_id"], name="eventbus_dead_message"),
            models.Index(fields=["saga", "saga_key"], name="eventbus_dead_saga", condition=~models.Q(saga="")),
        ]

    def __str__(self) -> str:
        return f"{self.event_name or self.topic} {self.message_id}"


def _field(name: str) -> models.Field[Any, Any]:
    return cast("models.Field[Any, Any]", DeadLetter._meta.get_field(name))


def _as_uuid(value: UUID | str) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)
