"""How fast does the relay drain a backlog to Kafka, against a bare SELECT-and-produce loop that deletes nothing?

Run from the repository's root: ``python benchmarks/drain.py --rows 200000 --rounds 3``. Starts PostgreSQL and Kafka as
the test suite does. Rounds are interleaved; every topic's end offsets are held against the rows. ``--snapshot`` and
``--writer`` let another session hold an old snapshot, or a transaction with an outbox row of its own, meanwhile.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.services import databases, kafka, postgres, run, stop

BATCH = 1000
HEADERS = {
    "ce_specversion": "1.0",
    "ce_id": "019a3d5e-7a3c-7bde-8000-0123456789ab",
    "ce_type": "shop.orders.order-placed",
    "ce_source": "/shop/orders",
    "ce_time": "2026-01-01T00:00:00.000000Z",
    "ce_correlationid": "019a3d5e-7a3c-7bde-8000-0123456789ab",
    "content-type": "application/json",
}
PAYLOAD = b'{"order_id":"' + b"x" * 312 + b'"}'
FILL = """
INSERT INTO eventbus_outbox (event_id, bus, shard, topic, key, headers, payload, event_name)
SELECT gen_random_uuid(), %s, g %% 64, %s, ('key' || g %% 5000)::bytea, %s, %s, 'shop.orders.order-placed'
FROM generate_series(1, %s) AS g
"""


def prepare_django() -> None:
    import django
    from django.conf import settings
    from django.core.management import call_command

    settings.configure(
        SECRET_KEY="bench",
        USE_TZ=True,
        INSTALLED_APPS=["django_eventbus"],
        DATABASES={"default": databases.on_postgres(postgres.url())},
        EVENTBUS={"default": {}},
        LOGGING_CONFIG=None,
    )
    django.setup()
    call_command("migrate", verbosity=0)


def make_topic() -> str:
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    topic = f"bench.{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka.address()})
    admin.create_topics([NewTopic(topic, num_partitions=4, replication_factor=1)])[topic].result(30)
    return topic


def drop_topic(topic: str) -> None:
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": kafka.address()})
    admin.delete_topics([topic])[topic].result(30)


def count_records(topic: str) -> int:
    from confluent_kafka.cimpl import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": kafka.address(), "group.id": uuid.uuid4().hex})
    places = [TopicPartition(topic, number) for number in range(4)]
    total = sum(consumer.get_watermark_offsets(place, timeout=30)[1] for place in places)
    consumer.close()
    return int(total)


def fill(topic: str, rows: int) -> None:
    from django.db import connection

    from django_eventbus.events.envelope import join_headers
    from django_eventbus.models import ControlFlag

    headers = join_headers(HEADERS.items())
    bus = ControlFlag.objects.bus_number("default")
    with connection.cursor() as cursor:
        cursor.execute(FILL, [bus, topic, headers, PAYLOAD, rows])


def clear() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE eventbus_outbox")


def bare_loop(rows: int) -> float:
    """Be the bound: the same client and connection, no locks, no delete, no verdicts, one counter."""
    import psycopg
    from confluent_kafka.cimpl import Producer

    config = {"bootstrap.servers": kafka.address(), "enable.idempotence": True, "acks": "all", "linger.ms": 5}
    producer = Producer({**config, "partitioner": "murmur2_random", "queue.buffering.max.messages": 200000})
    acked = 0

    def report(error: object, message: object) -> None:
        nonlocal acked
        acked += error is None

    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        cursor = connection.cursor(binary=True)
        select = "SELECT id, topic, key, headers, payload FROM eventbus_outbox WHERE id > %s ORDER BY id LIMIT %s"
        time.sleep(1)  # the producer id
        began, last = time.perf_counter(), 0
        while batch := cursor.execute(select, [last, BATCH], prepare=True).fetchall():
            for id_, topic, key, headers, payload in batch:
                parts = iter(headers.split("\x1f"))
                producer.produce(topic, payload, key, -1, report, None, 0, list(zip(parts, parts, strict=True)))
                last = id_
            producer.flush()
        took = time.perf_counter() - began
    assert acked == rows, (acked, rows)
    return took


def relay(rows: int) -> float:
    from django_eventbus.conf import KAFKA_TRANSPORT, BusConfig
    from django_eventbus.outbox.relay import Relay, RelayReport
    from django_eventbus.transports.kafka import KafkaTransport

    config = BusConfig(
        alias="default",
        transport=KAFKA_TRANSPORT,
        service="bench",
        source="/bench",
        group="bench",
        options={"bootstrap.servers": kafka.address()},
    )

    class Warm:
        """Wait for the producer id before the clock starts, as the bare loop does."""

        began = 0.0

        def __call__(self) -> Any:
            sender = KafkaTransport(config).open_sender(client_id="bench")
            time.sleep(1)
            self.began = time.perf_counter()
            return sender

    warm, stop, ended = Warm(), threading.Event(), 0.0

    def progress(report: RelayReport) -> None:
        nonlocal ended
        if report.sent >= rows:
            ended = time.perf_counter()
            stop.set()

    Relay(config, warm, on_progress=progress).run(stop)
    return ended - warm.began


@contextmanager
def disturbed(*, snapshot: bool, writer: bool) -> Iterator[None]:
    import psycopg

    from django_eventbus.models import ControlFlag

    with ExitStack() as stack:
        if snapshot:
            old = stack.enter_context(psycopg.connect(postgres.url()))
            old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            old.execute("SELECT 1 FROM eventbus_outbox LIMIT 1")
        if writer:
            opened = stack.enter_context(psycopg.connect(postgres.url()))
            bus = ControlFlag.objects.bus_number("default")
            opened.execute(FILL, [bus, "never", "", b"", 1])
            stack.callback(opened.rollback)
        yield


def measure(name: str, rows: int, function: Callable[[int], float], **disturbance: bool) -> float:
    topic = make_topic()
    clear()
    with disturbed(**disturbance):
        fill(topic, rows)
        took = function(rows)
    found = count_records(topic)
    assert found == rows, f"{name}: {found} records of {rows} rows"
    drop_topic(topic)
    return rows / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--snapshot", action="store_true")
    parser.add_argument("--writer", action="store_true")
    options = parser.parse_args()
    os.chdir(Path(__file__).resolve().parent.parent)
    run.begin()
    try:
        prepare_django()
        cases: dict[str, tuple[Callable[[int], float], dict[str, bool]]] = {
            "bare loop": (bare_loop, {"snapshot": False, "writer": False}),
            "relay": (relay, {"snapshot": False, "writer": False}),
        }
        if options.snapshot:
            cases["relay, old snapshot"] = (relay, {"snapshot": True, "writer": False})
        if options.writer:
            cases["relay, open writer"] = (relay, {"snapshot": False, "writer": True})
        rates: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(options.rounds):
            for name, (function, disturbance) in cases.items():
                rates[name].append(measure(name, options.rows, function, **disturbance))
                print(f"{name:22} {rates[name][-1]:10,.0f} rows/s", flush=True)
        bound = statistics.median(rates["bare loop"])
        for name, values in rates.items():
            print(f"{name:22} median {statistics.median(values):10,.0f}  {statistics.median(values) / bound:5.0%}")
    finally:
        stop.stop_services()
        run.end()


if __name__ == "__main__":
    main()
