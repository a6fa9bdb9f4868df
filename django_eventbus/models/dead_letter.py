"""Which messages could not be handled or sent, and why?"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from django.db import models
from django.db.models.functions import Now

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
    published_at = models.DateTimeField(null=True)
    first_failed_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(db_default=Now())

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
        ]

    def __str__(self) -> str:
        return f"{self.event_name or self.topic} {self.message_id}"
