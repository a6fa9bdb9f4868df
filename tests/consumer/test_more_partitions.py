"""A topic that gets more partitions under way: its keys have moved, and whoever consumes it says so once."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions
from django.db import connections

from django_eventbus.consumer.worker import Worker
from django_eventbus.delivery.registry import groups_of, handler
from django_eventbus.events.contract import event
from django_eventbus.transports.kafka import KafkaTransport
from tests.consumer.scene import TOPIC, config, noted
from tests.consumer.test_worker import Stage, eventually, stage

__all__ = ["stage"]

pytestmark = pytest.mark.postgres_only


def grown(caplog: pytest.LogCaptureFixture) -> list[tuple[Any, ...]]:
    """Return what was said of topics that have grown: topic, partitions before, partitions now."""
    return [record.args for record in caplog.records if "has got more partitions" in record.message]  # type: ignore[misc]


def test_new_partitions_are_told_of_once_and_consumed(caplog: pytest.LogCaptureFixture, stage: Stage) -> None:
    stage.handles("first")
    stage.send(1)
    stage.start()
    eventually(lambda: noted("first") == [1])
    assert grown(caplog) == []

    broker = stage.transport.broker
    with broker.changed:
        broker.topics[TOPIC] += [[], [], []]
        broker.changed.notify_all()
    eventually(lambda: grown(caplog))
    for number in range(2, 30):
        stage.send(number, f"key {number}")

    eventually(lambda: len(noted("first")) == 29)
    assert grown(caplog) == [(TOPIC, 4, 7)]


@pytest.mark.services
def test_kafka_tells_of_them_too(
    caplog: pytest.LogCaptureFixture, transactional_db: None, kafka: str, topic: str
) -> None:
    @event("grown.things.seen", topic=f"/{topic}")
    class Seen:
        number: int

    @handler(Seen, name="grown.see")
    def see(event: Seen) -> None: ...

    options = {"bootstrap.servers": kafka, "topic.metadata.refresh.interval.ms": 200}
    settings = config(TRANSPORT="kafka", ENVIRONMENT="dev", GROUP=f"{topic}.group", OPTIONS=options)
    worker = Worker(settings, groups_of(settings)[settings.group], KafkaTransport(settings))
    stop = threading.Event()

    def run() -> None:
        try:
            worker.run(stop)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        eventually(lambda: worker._starts._partitions == {topic: 1}, within=60)
        admin = AdminClient({"bootstrap.servers": kafka})
        admin.create_partitions([NewPartitions(topic, 3)])[topic].result(30)
        eventually(lambda: grown(caplog), within=60)
    finally:
        stop.set()
        thread.join(30)

    assert grown(caplog) == [(topic, 1, 3)]
