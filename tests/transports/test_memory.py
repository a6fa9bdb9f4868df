"""What only the broker in memory can do: fail on demand, lose a member."""

from __future__ import annotations

import threading

import pytest

from django_eventbus.transports.base import ConsumerOptions, FailureKind, TopicPartition
from django_eventbus.transports.memory import MemoryBroker, MemoryConsumer, MemorySender, MemoryTransport

from .conftest import Heard, bus_config, row


@pytest.fixture
def transport() -> MemoryTransport:
    return MemoryTransport(bus_config())


@pytest.fixture
def sender(transport: MemoryTransport) -> MemorySender:
    return transport.open_sender(client_id="tests")


def member(transport: MemoryTransport, heard: Heard, topic: str = "orders") -> MemoryConsumer:
    consumer = transport.open_consumer(ConsumerOptions(group="g", client_id="c"))
    consumer.subscribe([topic], listener=heard)
    return consumer


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FailureKind.PERMANENT, [None, "permanent", "not_sent", None, None]),
        (FailureKind.OTHER, [None, "other", "not_sent", None, None]),
        (FailureKind.TOPIC, [None, "topic", "topic", "topic", None]),
        (FailureKind.TRANSPORT_DOWN, [None, *["transport_down"] * 4]),
        (FailureKind.PRODUCER_FAULT, [None, *["producer_fault"] * 4]),
    ],
)
def test_a_failure_on_demand_takes_along_what_it_would(
    transport: MemoryTransport, sender: MemorySender, kind: FailureKind, expected: list[str | None]
) -> None:
    rows = [row("a", b"1"), row("a", b"2"), row("a", b"2"), row("a", b"3"), row("b", b"2")]
    transport.broker.fail_next(kind, topic="a", key=b"2")

    result = sender.send(rows, deadline=1)
    again = sender.send([row for row in rows if row[0] in result.failures], deadline=1)

    assert [result.failures[row[0]].kind.value if row[0] in result.failures else None for row in rows] == expected
    assert not again.failures


def test_the_same_key_goes_to_the_partition_that_kafka_would_choose(
    transport: MemoryTransport, sender: MemorySender
) -> None:
    transport.broker.create_topic("orders", partitions=6)

    sender.send([row("orders", b"order-42")], deadline=1)

    assert transport.broker.records("orders")[0].partition == 0


def test_a_missing_topic_is_a_failure_where_topics_are_not_made_by_sending() -> None:
    sender = MemorySender(MemoryBroker(creates_topics=False))

    (failure,) = sender.send([row("orders")], deadline=1).failures.values()

    assert failure == (FailureKind.TOPIC, "UNKNOWN_TOPIC_OR_PART")


def test_a_member_that_was_thrown_out_loses_its_partitions_and_may_not_store(transport: MemoryTransport) -> None:
    transport.broker.create_topic("orders", partitions=1)
    place, heard, other = TopicPartition("orders", 0), Heard(), Heard()
    first = member(transport, heard)
    first.poll(timeout=0, limit=1)
    second = member(transport, other)

    first.expire()
    first.store({place: 9})
    second.poll(timeout=0, limit=1)
    first.poll(timeout=0, limit=1)

    assert heard.told("lost") == [{place}]
    assert other.assigned_now == {place}
    assert second.committed([place]) == {place: None}


def test_a_waiting_poll_wakes_at_the_first_record(transport: MemoryTransport, sender: MemorySender) -> None:
    transport.broker.create_topic("orders")
    heard = Heard()
    consumer = member(transport, heard)
    assert consumer.poll(timeout=0, limit=10) == []
    threading.Timer(0.05, sender.send, ([row("orders")],), {"deadline": 1}).start()

    assert len(consumer.poll(timeout=30, limit=10)) == 1
