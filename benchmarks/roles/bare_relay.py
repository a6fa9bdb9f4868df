"""The reference of the relay: SELECT a thousand rows by id, produce them, flush; nothing is deleted."""

from __future__ import annotations

import os
import time
from typing import Any

import psycopg
from confluent_kafka.cimpl import Producer
from psycopg.conninfo import make_conninfo

from benchmarks import settings
from benchmarks.children import serve

READ = "SELECT id, topic, key, headers, payload FROM eventbus_outbox WHERE id > %s ORDER BY id LIMIT 1000"

connection = psycopg.connect(
    make_conninfo(os.environ[settings.POSTGRES], dbname=os.environ[settings.DATABASE]),
    autocommit=True,
    prepare_threshold=None,
)
producer = Producer(
    {
        "bootstrap.servers": os.environ[settings.KAFKA],
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "linger.ms": 5,
    }
)


def drain(count: int) -> dict[str, Any]:
    """Send so many rows; return when how many of them were acknowledged."""
    acked, refused, last = 0, 0, 0
    marks: list[tuple[float, int]] = []

    def delivered(error: Any, _message: Any) -> None:
        nonlocal acked, refused
        if error is None:
            acked += 1
        else:
            refused += 1

    produce = producer.produce
    cursor = connection.cursor(binary=True)
    while acked < count and not refused:
        rows = cursor.execute(READ, [last], prepare=True).fetchall()
        for row_id, topic, key, headers, payload in rows:
            parts = iter(headers.split("\x1f"))
            produce(topic, payload, key, -1, delivered, None, 0, list(zip(parts, parts, strict=True)))
            last = row_id
        producer.flush()
        marks.append((time.monotonic(), acked))
    return {"sent": acked, "marks": marks}


serve({"drain": drain})
