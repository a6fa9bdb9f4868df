"""Which rows wait to be sent, and how does a publish add to them?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Now

from .insertion import insert_rows

HELD_UNTIL = datetime(9999, 1, 1, tzinfo=UTC)  # "waits for an operator": Python has no datetime for SQL's infinity

INTO = "INSERT INTO eventbus_outbox (event_id, bus, shard, topic, key, headers, payload, event_name)"


class NewMessage(NamedTuple):
    """Hold the columns that a publish writes, in their order; the database gives id and time."""

    event_id: UUID
    bus: int  # ControlFlag row of the bus
    shard: int  # keys.shard_of(key)
    topic: str
    key: bytes | None
    headers: str  # envelope.join_headers
    payload: bytes
    event_name: str


class OutboxQuerySet(models.QuerySet["OutboxMessage"]):
    def append(self, messages: Sequence[NewMessage]) -> None:
        """Insert messages, in their order, with one statement; joins the caller's transaction on this alias."""
        connection = connections[self.db]
        insert_rows(connection, INTO, columns_of(messages, connection))


def columns_of(messages: Sequence[NewMessage], connection: BaseDatabaseWrapper) -> Sequence[tuple[Any, ...]]:
    """Return the columns of messages as this database takes them."""
    if connection.features.has_native_uuid_field:
        return messages
    return [(event_id.hex, *columns) for event_id, *columns in messages]


class TravellingMessage(models.Model):
    """Share the columns of a message that is ready to send."""

    event_id = models.UUIDField()
    event_name = models.TextField()  # for the admin's filter; the header ce_type is what travels
    bus = models.SmallIntegerField()  # ControlFlag row of the bus
    shard = models.SmallIntegerField()  # murmur2(key) % 64
    topic = models.TextField()
    key = models.BinaryField(null=True)
    headers = models.TextField()  # k \x1f v \x1f k \x1f v: cheapest of eight forms for the relay
    payload = models.BinaryField()  # exact bytes to send
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True


class OutboxMessage(TravellingMessage):
    """Be one event that is not yet sent; deleted once the broker has acknowledged it."""

    id = models.BigAutoField(primary_key=True)  # GENERATED ALWAYS, CACHE 1: id order is the order of one key

    objects = OutboxQuerySet.as_manager()

    class Meta:
        db_table = "eventbus_outbox"
        default_permissions = ("view",)
        verbose_name = "outbox message"

    def __str__(self) -> str:
        return f"{self.event_name} {self.event_id}"


class OutboxLaneQuerySet(models.QuerySet["OutboxLane"]):
    def release(self, bus: int, *, topic: str, key: bytes) -> None:
        """Let a key that is held for a verdict go on: the relay finds it due."""
        self.filter(bus=bus, topic=topic, whole=False, key=key, available_at=HELD_UNTIL).update(available_at=Now())


class OutboxLane(models.Model):
    """Be a key, or a whole topic, whose messages wait aside because one of them could not be sent."""

    bus = models.SmallIntegerField()
    shard = models.SmallIntegerField()  # a whole topic has one row per shard
    topic = models.TextField()
    whole = models.BooleanField()  # the topic itself is in trouble, not one key
    key = models.BinaryField()  # empty for a whole topic and for messages without a key
    reason = models.TextField()  # the broker's name for the error
    attempts = models.IntegerField(default=0)
    available_at = models.DateTimeField()  # next probe; HELD_UNTIL: waits for a verdict
    head_id = models.BigIntegerField(default=0)  # parked messages up to this id are sent

    objects = OutboxLaneQuerySet.as_manager()

    class Meta:
        db_table = "eventbus_outbox_lane"
        default_permissions = ("view",)
        verbose_name = "outbox lane"
        constraints = [
            models.UniqueConstraint(
                fields=["bus", "shard", "topic", "whole", "key"], name="eventbus_outbox_lane_unique"
            )
        ]
        indexes = [
            models.Index(fields=["bus", "available_at", "id"], name="eventbus_lane_due"),
            models.Index(fields=["bus", "topic", "id"], name="eventbus_lane_whole", condition=models.Q(whole=True)),
        ]

    def __str__(self) -> str:
        return self.topic if self.whole else f"{self.topic} {bytes(self.key).decode(errors='backslashreplace')}"


class ParkedMessage(TravellingMessage):
    """Be a message that waits in a lane; it keeps the id, and so the place, that it had in the outbox."""

    pk = models.CompositePrimaryKey("lane_id", "id")
    lane_id = models.BigIntegerField()
    id = models.BigIntegerField()

    class Meta:
        db_table = "eventbus_outbox_parked"
        default_permissions = ("view",)
        verbose_name = "parked message"

    def __str__(self) -> str:
        return f"{self.event_name} {self.event_id}"


class SentMessage(TravellingMessage):
    """Be the archived copy of a sent message; written only with `OUTBOX['RETENTION']`."""

    id = models.BigIntegerField(primary_key=True)  # the id that it had in the outbox
    sent_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        db_table = "eventbus_sent"
        default_permissions = ("view",)
        verbose_name = "sent message"

    def __str__(self) -> str:
        return f"{self.event_name} {self.event_id}"
