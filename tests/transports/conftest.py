"""Three brokers behind one contract: Apache Kafka, librdkafka's mock cluster, and the one in memory."""

from __future__ import annotations

import itertools
import os
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from django_eventbus.conf import BusConfig, ConsumerConfig, OutboxConfig
from django_eventbus.events.envelope import OutgoingRow, join_headers
from django_eventbus.transports.base import Consumer, ConsumerOptions, Record, TopicPartition, Transport
from django_eventbus.transports.kafka import KafkaTransport, embedded
from django_eventbus.transports.memory import MemoryTransport

QUICK_CONSUMER = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 300, "auto.commit.interval.ms": 100}
PATIENCE = 30.0


def bus_config(address: str = "", **changes: Any) -> BusConfig:
    consumer_options = changes.pop("consumer_options", QUICK_CONSUMER)
    values: dict[str, Any] = {
        "alias": "default",
        "service": "tests",
        "source": "/tests",
        "group": "tests-dev",
        "options": {"bootstrap.servers": address},
        "consumer_options": consumer_options,
        "outbox": OutboxConfig(send_deadline=timedelta(seconds=5), grace=timedelta(seconds=15)),
    }
    return BusConfig(**(values | changes))


_ids = itertools.count(1)


def row(topic: str, key: bytes | None = b"k", payload: bytes | None = b"{}", **headers: str) -> OutgoingRow:
    return next(_ids), topic, key, join_headers(headers.items()), payload


def noise(size: int) -> bytes:
    """Bytes that no compression makes smaller."""
    return os.urandom(size)


@dataclass
class Heard:
    """A listener that remembers what it was told."""

    assigned_now: set[TopicPartition] = field(default_factory=set)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    on_assigned: Callable[[Collection[TopicPartition]], None] = lambda _: None
    on_revoked: Callable[[Collection[TopicPartition]], None] = lambda _: None

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        self.assigned_now |= set(partitions)
        self.calls.append(("assigned", set(partitions)))
        self.on_assigned(partitions)

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        self.assigned_now -= set(partitions)
        self.calls.append(("revoked", set(partitions)))
        self.on_revoked(partitions)

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        self.assigned_now -= set(partitions)
        self.calls.append(("lost", set(partitions)))

    def reached_end(self, partition: TopicPartition, offset: int) -> None:
        self.calls.append(("reached_end", (partition, offset)))

    def failed(self, code: str, reason: str) -> None:
        self.calls.append(("failed", (code, reason)))

    def told(self, name: str) -> list[Any]:
        return [what for called, what in self.calls if called == name]


def poll_until(
    consumer: Consumer, is_done: Callable[[list[Record]], bool], *, patience: float = PATIENCE
) -> list[Record]:
    """Poll until the records so far satisfy a condition; fail when it takes too long."""
    records: list[Record] = []
    end = time.monotonic() + patience
    while not is_done(records):
        if time.monotonic() > end:
            pytest.fail(f"the condition was not reached in {patience} s; {len(records)} records came")
        records += consumer.poll(timeout=0.1, limit=500)
    return records


@dataclass
class Broker:
    """One of the three, with what a test needs of it."""

    name: str
    transport: Transport
    create: Callable[[str, int], object]

    def topic(self, partitions: int = 1) -> str:
        name = f"test.{uuid.uuid4().hex}"
        self.create(name, partitions)
        return name

    def fill(self, topic: str, count: int, **headers: str) -> list[OutgoingRow]:
        rows = [row(topic, f"k{n % 7}".encode(), f"v{n}".encode(), **headers) for n in range(count)]
        sender = self.transport.open_sender(client_id="tests")
        result = sender.send(rows, deadline=20)
        sender.close()
        assert sorted(result.acked) == [row[0] for row in rows]
        return rows

    def consumer(self, group: str, **options: Any) -> Consumer:
        return self.transport.open_consumer(ConsumerOptions(group=group, client_id="tests", **options))


@pytest.fixture
def embedded_broker() -> Iterator[embedded.EmbeddedBroker]:
    with embedded.EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(params=["kafka", "kafka-kip848", "embedded", "memory"])
def broker(request: pytest.FixtureRequest) -> Broker:
    if request.param == "memory":
        transport = MemoryTransport(bus_config())
        return Broker("memory", transport, lambda name, count: transport.broker.create_topic(name, partitions=count))
    if request.param == "embedded":
        mock = request.getfixturevalue("embedded_broker")
        config = bus_config(mock.address, consumer_options=embedded.CONSUMER_OPTIONS | {"auto.commit.interval.ms": 100})
        return Broker("embedded", KafkaTransport(config), lambda name, count: mock.create_topic(name, partitions=count))
    make_topic = request.getfixturevalue("make_topic")
    consumer = ConsumerConfig(group_protocol="consumer" if request.param == "kafka-kip848" else "classic")
    config = bus_config(request.getfixturevalue("kafka"), consumer=consumer)
    return Broker(request.param, KafkaTransport(config), lambda name, count: make_topic(name, partitions=count))


@pytest.fixture
def group() -> str:
    return f"group-{uuid.uuid4().hex[:12]}"
