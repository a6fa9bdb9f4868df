"""The references of the consumer: loops without retries, dead letters, fences or lanes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import django
import msgspec
from confluent_kafka import Consumer, Message

django.setup()

from django.db import connection, transaction
from psycopg import ClientCursor

from benchmarks import settings
from benchmarks.children import serve
from benchmarks.shop.events import WAIT
from benchmarks.shop.models import Effect

TAKE = """
INSERT INTO reference_inbox (key, handler, partition_id, position)
SELECT key, 'reference', 1, 1 FROM unnest(%s::uuid[]) key ON CONFLICT DO NOTHING RETURNING key
"""


class Placed(msgspec.Struct):
    """Be what a hand-written loop reads of an event."""

    number: int
    order: str
    customer: str
    currency: str
    total: str
    note: str


decoder = msgspec.json.Decoder(Placed)
consumer = Consumer(
    {
        "bootstrap.servers": os.environ[settings.KAFKA],
        "group.id": f"{os.environ[settings.TOPIC]}-reference",
        "auto.offset.reset": "earliest",
        "enable.auto.offset.store": False,
        "auto.commit.interval.ms": 1000,
    }
)


def join() -> None:
    """Wait for partitions."""
    consumer.subscribe([os.environ[settings.TOPIC]])
    while not consumer.assignment():
        consumer.poll(0.1)


def consume(count: int, size: int, style: str) -> None:
    """Handle so many messages in units of `size`."""
    left = count
    while left > 0:
        messages = consumer.consume(min(size, left), 5)
        if not messages:
            raise RuntimeError(f"{left} of {count} messages did not come")
        STYLES[style](messages)
        last = {(message.topic(), message.partition()): message for message in messages}
        for message in last.values():
            consumer.store_offsets(message=message)
        left -= len(messages)


def one_by_one(messages: Sequence[Message]) -> None:
    """Insert one row a message through the ORM, each in a savepoint that costs one round trip."""
    with transaction.atomic():
        fresh = take(messages, begin="SAVEPOINT m")
        with ClientCursor(connection.connection) as cursor:
            for message in messages:
                if message_id(message) in fresh:
                    event = decoder.decode(message.value() or b"")
                    Effect.objects.create(number=event.number, order=event.order, note=event.currency)
                    cursor.execute("RELEASE SAVEPOINT m; SAVEPOINT m")


def in_bulk(messages: Sequence[Message]) -> None:
    """Insert all rows at once."""
    with transaction.atomic():
        fresh = take(messages)
        events = [decoder.decode(message.value() or b"") for message in messages if message_id(message) in fresh]
        Effect.objects.bulk_create([Effect(number=e.number, order=e.order, note=e.currency) for e in events])


def serially(messages: Sequence[Message]) -> None:
    """Wait for somebody else, one message after the other."""
    with transaction.atomic():
        fresh = take(messages)
        for message in messages:
            if message_id(message) in fresh:
                decoder.decode(message.value() or b"")
                time.sleep(WAIT)


def take(messages: Sequence[Message], *, begin: str = "") -> set[UUID]:
    ids = sorted(map(message_id, messages))
    with ClientCursor(connection.connection) as cursor:
        cursor.execute(TAKE, [ids])
        fresh = {row[0] for row in cursor.fetchall()}
        if begin:
            cursor.execute(begin)
        return fresh


def message_id(message: Message) -> UUID:
    headers: Any = message.headers()
    return UUID(headers[1][1].decode())


STYLES: dict[str, Callable[[Sequence[Message]], None]] = {
    "one_by_one": one_by_one,
    "in_bulk": in_bulk,
    "serially": serially,
}

serve({"join": join, "consume": consume})
