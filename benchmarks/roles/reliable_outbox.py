"""A peer: the worker of django-reliable-outbox with its own Kafka destination, as its documentation sets it up."""

from __future__ import annotations

import os
import time

from django.core.management import call_command

from benchmarks import settings
from benchmarks.children import serve
from benchmarks.peers import project, rows

project.begin(
    "reliable_outbox",
    RELIABLE_OUTBOX={
        "DESTINATIONS": {
            "default": {
                "BACKEND": "reliable_outbox.destinations.kafka.KafkaDestination",
                "OPTIONS": {
                    "topic": os.environ[settings.TOPIC],
                    "config": {
                        "bootstrap.servers": os.environ[settings.KAFKA],
                        "acks": "all",
                        "partitioner": "murmur2_random",
                        "linger.ms": 0,
                    },
                },
            }
        }
    },
)

from reliable_outbox.models import OutboxMessage, Status


def fill(count: int) -> None:
    """Write rows as its `publish()` does, many at once."""
    project.fill(
        OutboxMessage,
        [
            OutboxMessage(
                name=rows.EVENT,
                payload=rows.payload(number),
                headers=rows.headers(number),
                key=rows.key(number),
                destination="default",
                max_attempts=10,
                backoff="exponential",
            )
            for number in range(count)
        ],
    )


def drain(concurrency: int, batch_size: int) -> dict[str, float]:
    """Let its command deliver all that is due; return what it delivered, and in which time."""
    began = time.monotonic()
    call_command("outbox_worker", burst=True, concurrency=concurrency, batch_size=batch_size)
    seconds = time.monotonic() - began
    return {"sent": OutboxMessage.objects.filter(status=Status.DELIVERED).count(), "seconds": seconds}


serve({"fill": fill, "drain": drain})
