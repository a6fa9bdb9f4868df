"""How is the real producer swept? On librdkafka's mock cluster, in a process that outlives those that are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka.cimpl import Consumer, Producer, TopicPartition

from django_eventbus.transports.base import Record
from django_eventbus.transports.kafka import producer
from django_eventbus.transports.kafka.embedded import EmbeddedBroker
from django_eventbus.transports.kafka.transport import KafkaTransport
from tests.proof.sweep.points import points

ADDRESS = "SWEEP_KAFKA"
TOPICS = ("sweep.steps", "sweep.echoes")


empty: Callable[[], None]


@contextmanager
def mock_cluster() -> Iterator[None]:
    """Run a broker in a process of its own, which `empty` empties."""
    global empty
    from_us, to_broker = os.pipe()
    from_broker, to_us = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(to_broker)  # so that it ends with who uses it
        _serve(from_us, to_us)
    os.environ[ADDRESS] = os.read(from_broker, 100).decode()

    def ask() -> None:
        os.write(to_broker, b"!")
        os.read(from_broker, 1)

    empty = ask
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _serve(ear: int, mouth: int) -> None:
    try:
        broker = EmbeddedBroker()
        os.write(mouth, broker.address.encode())
        while os.read(ear, 1):
            for topic in TOPICS:
                broker.delete_topic(topic)
                broker.create_topic(topic, partitions=2)
            os.write(mouth, b"!")
    finally:
        os._exit(0)


class CountedProducer(Producer):
    """Count what is produced, flushed and reported."""

    def produce(self, *arguments: Any) -> None:
        topic, value, key, partition, callback, *rest = arguments

        def reported(error: Any, message: Any) -> None:
            with points.point(f"report {topic}"):
                callback(error, message)

        with points.point(f"produce {topic}"):
            super().produce(topic, value, key, partition, reported, *rest)

    def flush(self, *arguments: Any) -> int:
        with points.point("flush"):
            return super().flush(*arguments)


class CountedKafkaTransport(KafkaTransport):
    """Send through producers that count."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        producer.Producer = CountedProducer  # type: ignore[attr-defined]


def records() -> list[Record]:
    """Return what the broker holds, partition by partition."""
    reader = Consumer({"bootstrap.servers": os.environ[ADDRESS], "group.id": "judge", "fetch.wait.max.ms": 20})
    found: list[Record] = []
    try:
        for topic in TOPICS:
            for number in range(2):
                end = reader.get_watermark_offsets(TopicPartition(topic, number), 10)[1]
                reader.assign([TopicPartition(topic, number, 0)])
                for offset in range(end):
                    (message,) = reader.consume(1, 10)
                    headers: Any = message.headers()
                    found.append(Record(topic, number, offset, message.key(), message.value(), headers, None))
    finally:
        reader.close()
    return found


def settings() -> dict[str, Any]:
    """Return what the bus needs to reach the broker."""
    return {
        "TRANSPORT": "tests.proof.sweep.mock_kafka.CountedKafkaTransport",
        "OPTIONS": {"bootstrap.servers": os.environ.get(ADDRESS, "")},
    }
