"""A peer: the publisher of django-outbox-pattern, its connection class replaced by one that speaks Kafka."""

from __future__ import annotations

import os
import time

from benchmarks import settings
from benchmarks.children import serve
from benchmarks.peers import project, rows
from benchmarks.peers.confirmed import KEY

project.begin(
    "django_outbox_pattern",
    DJANGO_OUTBOX_PATTERN={
        "DEFAULT_CONNECTION_CLASS": "benchmarks.peers.confirmed.ConfirmedKafka",
        "DEFAULT_PUBLISHED_CHUNK_SIZE": 1000,
        "DEFAULT_PRODUCER_WAITING_TIME": 0,
    },
)

from django_outbox_pattern.choices import StatusChoice
from django_outbox_pattern.factories import factory_producer
from django_outbox_pattern.headers import get_message_headers
from django_outbox_pattern.models import Published

CARRIED = ("ce_type", "content-type")  # beside the five that the peer adds by itself: seven, as ours

producer = factory_producer()


def fill(count: int) -> None:
    """Write rows as its `save()` does, many at once."""
    project.fill(Published, [row(number) for number in range(count)])


def row(number: int) -> Published:
    carried = {name: value for name, value in rows.headers(number).items() if name in CARRIED}
    published = Published(
        destination=os.environ[settings.TOPIC],
        body=rows.payload(number),
        headers={KEY: rows.key(number), **carried},
    )
    published.headers = get_message_headers(published)
    return published


def drain() -> dict[str, float]:
    """Let its command take one turn, which sends all there is; return what it sent, and in which time."""
    began = time.monotonic()
    producer.publish_message_from_database()
    seconds = time.monotonic() - began
    return {"sent": Published.objects.filter(status=StatusChoice.SUCCEEDED).count(), "seconds": seconds}


serve({"fill": fill, "drain": drain})
