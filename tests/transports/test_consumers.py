"""The contract of consumers, on every broker."""

from __future__ import annotations

import ctypes
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka.cimpl import Producer

from django_eventbus.transports.base import ConsumerOptions, TopicPartition
from django_eventbus.transports.kafka import KafkaTransport, embedded
from django_eventbus.transports.kafka.embedded import EmbeddedBroker

from .conftest import Broker, Heard, bus_config, poll_until, row


def test_every_record_comes_with_its_exact_bytes(broker: Broker, group: str) -> None:
    topic = broker.topic()
    sent = row(topic, b"\xff\xfekey", b"\x00payload\xff", ce_id="1", note="é")
    sender = broker.transport.open_sender(client_id="tests")

    before = datetime.now(UTC)
    sender.send([sent, row(topic, b"gone", None)], deadline=20)
    consumer = broker.consumer(group)
    consumer.subscribe([topic], listener=Heard())
    first, tombstone = poll_until(consumer, lambda records: len(records) == 2)
    consumer.close()

    assert (first.topic, first.partition, first.offset) == (topic, 0, 0)
    assert (first.key, first.value) == (b"\xff\xfekey", b"\x00payload\xff")
    assert list(first.headers) == [("ce_id", b"1"), ("note", "é".encode())]
    assert first.received_at is not None
    assert before <= first.received_at <= datetime.now(UTC)
    assert (tombstone.key, tombstone.value, list(tombstone.headers)) == (b"gone", None, [])


def test_records_of_a_key_come_in_their_order(broker: Broker, group: str) -> None:
    topic = broker.topic(3)
    rows = broker.fill(topic, 300)

    consumer = broker.consumer(group)
    consumer.subscribe([topic], listener=Heard())
    records = poll_until(consumer, lambda records: len(records) >= 300)
    consumer.close()

    for key in {sent[2] for sent in rows}:
        assert [r.value for r in records if r.key == key] == [sent[4] for sent in rows if sent[2] == key]


def test_stored_offsets_survive_a_restart(broker: Broker, group: str) -> None:
    topic = broker.topic()
    broker.fill(topic, 10)
    place = TopicPartition(topic, 0)
    first = broker.consumer(group)
    first.subscribe([topic], listener=Heard())
    poll_until(first, lambda records: len(records) == 10)

    first.store({place: 4})
    first.close()
    second = broker.consumer(group)
    second.subscribe([topic], listener=Heard())
    records = poll_until(second, lambda records: len(records) >= 6)

    assert [record.offset for record in records] == [4, 5, 6, 7, 8, 9]
    assert second.committed([place]) == {place: 4}
    second.close()


def test_stored_offsets_are_committed_in_the_background(broker: Broker, group: str) -> None:
    topic = broker.topic()
    broker.fill(topic, 3)
    place = TopicPartition(topic, 0)
    consumer = broker.consumer(group)
    consumer.subscribe([topic], listener=Heard())
    poll_until(consumer, lambda records: len(records) == 3)

    consumer.store({place: 2})

    poll_until(consumer, lambda _: consumer.committed([place]) == {place: 2})
    consumer.close()


def test_storing_for_a_partition_of_others_is_ignored(broker: Broker, group: str) -> None:
    topic = broker.topic()
    broker.fill(topic, 1)
    foreign = TopicPartition(topic, 99)
    consumer = broker.consumer(group)
    consumer.subscribe([topic], listener=Heard())
    poll_until(consumer, lambda records: len(records) == 1)

    consumer.store({foreign: 7})
    consumer.seek(foreign, 3)
    consumer.pause([foreign])
    consumer.resume([foreign])

    assert consumer.assignment() == {TopicPartition(topic, 0)}
    consumer.close()


def test_seek_goes_back_and_forward(broker: Broker, group: str) -> None:
    topic = broker.topic()
    broker.fill(topic, 10)
    place = TopicPartition(topic, 0)
    consumer = broker.consumer(group)
    consumer.subscribe([topic], listener=Heard())
    poll_until(consumer, lambda records: len(records) == 10)

    consumer.seek(place, 2)
    again = poll_until(consumer, lambda records: len(records) >= 8)
    consumer.seek(place, 9)
    last = poll_until(consumer, lambda records: len(records) >= 1)
    consumer.close()

    assert [record.offset for record in again] == list(range(2, 10))
    assert [record.offset for record in last] == [9]


@pytest.mark.parametrize("is_at_once", [True, False])
def test_a_partition_can_be_paused_when_it_is_assigned_and_moved_then_or_right_after(
    broker: Broker, group: str, is_at_once: bool
) -> None:
    topic = broker.topic()
    broker.fill(topic, 10)
    place = TopicPartition(topic, 0)
    consumer = broker.consumer(group)

    def take_over(_: object) -> None:
        consumer.pause([place])
        if is_at_once:
            consumer.seek(place, 5)

    heard = Heard(on_assigned=take_over)
    consumer.subscribe([topic], listener=heard)
    early = poll_until(consumer, lambda _: heard.assigned_now == {place})
    if not is_at_once:
        consumer.seek(place, 5)
    early += [record for _ in range(5) for record in consumer.poll(timeout=0.1, limit=10)]

    consumer.resume([place])

    records = poll_until(consumer, lambda records: len(records) >= 5)
    assert early == []
    assert [record.offset for record in records] == [5, 6, 7, 8, 9]
    consumer.close()


def test_pause_stops_one_partition_only(broker: Broker, group: str) -> None:
    topic = broker.topic(2)
    heard = Heard()
    consumer = broker.consumer(group)
    consumer.subscribe([topic], listener=heard)
    poll_until(consumer, lambda _: len(heard.assigned_now) == 2)

    consumer.pause([TopicPartition(topic, 0)])
    broker.fill(topic, 40)
    end = consumer.end_offsets([TopicPartition(topic, 0), TopicPartition(topic, 1)])
    assert min(end.values()) > 0
    flowing = poll_until(consumer, lambda records: len(records) >= end[TopicPartition(topic, 1)])
    consumer.resume([TopicPartition(topic, 0)])
    resumed = poll_until(consumer, lambda records: len(records) >= end[TopicPartition(topic, 0)])
    consumer.close()

    assert {record.partition for record in flowing} == {1}
    assert {record.partition for record in resumed} == {0}


def test_poll_keeps_to_its_limit(broker: Broker, group: str) -> None:
    topic = broker.topic()
    broker.fill(topic, 20)
    consumer = broker.consumer(group)
    consumer.subscribe([topic], listener=Heard())
    batches: list[int] = []

    poll_until(consumer, lambda _: bool(consumer.assignment()))
    consumer.seek(TopicPartition(topic, 0), 0)
    while sum(batches) < 20:
        batches.append(len(consumer.poll(timeout=1, limit=6)))
    consumer.close()

    assert max(batches) == 6


def test_a_second_member_takes_its_share_after_the_first_gave_it_up(broker: Broker, group: str) -> None:
    topic = broker.topic(4)
    broker.fill(topic, 40)
    first, second = broker.consumer(group), broker.consumer(group)
    order: list[str] = []

    def store_and_note(partitions: object) -> None:
        order.append("revoked")
        first.store(dict.fromkeys(places & first.assignment(), 1))

    places = {TopicPartition(topic, number) for number in range(4)}
    heard_first = Heard(on_revoked=store_and_note)
    heard_second = Heard(on_assigned=lambda _: order.append("assigned"))
    first.subscribe([topic], listener=heard_first)
    poll_until(first, lambda records: len(records) >= 40)

    second.subscribe([topic], listener=heard_second)
    poll_both = lambda _: not first.poll(timeout=0.05, limit=500) and len(heard_second.assigned_now) == 2  # noqa: E731
    records = poll_until(second, poll_both)
    records += second.poll(timeout=2, limit=500)

    assert heard_first.assigned_now | heard_second.assigned_now == places
    assert len(heard_first.assigned_now) == 2
    assert order[:2] == ["revoked", "assigned"]
    if broker.name != "embedded":  # the mock cluster may answer the new member before it has taken the commit
        assert not [record for record in records if record.offset == 0]  # what was stored on revoke was committed
    second.close()
    poll_until(first, lambda _: heard_first.assigned_now == places)
    first.close()


def test_close_revokes_and_commits(broker: Broker, group: str) -> None:
    topic = broker.topic()
    broker.fill(topic, 5)
    place = TopicPartition(topic, 0)
    consumer = broker.consumer(group)
    heard = Heard(on_revoked=lambda _: consumer.store({place: 3}))
    consumer.subscribe([topic], listener=heard)
    poll_until(consumer, lambda records: len(records) == 5)

    consumer.close()

    other = broker.consumer(group)
    assert heard.told("revoked") == [{place}]
    assert other.committed([place]) == {place: 3}
    other.close()


def test_the_end_is_reported_after_the_records_before_it(broker: Broker, group: str) -> None:
    topic = broker.topic()
    broker.fill(topic, 5)
    place, heard = TopicPartition(topic, 0), Heard()
    consumer = broker.consumer(group, report_ends=True)
    consumer.subscribe([topic], listener=heard)
    seen: list[int] = []

    while not heard.told("reached_end"):
        before = len(seen)
        seen += [record.offset for record in consumer.poll(timeout=1, limit=2)]
        assert not heard.told("reached_end") or before == 5

    assert heard.told("reached_end") == [(place, 5)]
    broker.fill(topic, 1)
    poll_until(consumer, lambda _: heard.told("reached_end")[-1] == (place, 6))
    consumer.close()


def test_offsets_and_partitions_are_told(broker: Broker, group: str) -> None:
    topic = broker.topic(2)
    rows = broker.fill(topic, 30)
    consumer = broker.consumer(group)

    places = consumer.partitions_of([topic])
    ends = consumer.end_offsets(places)

    assert places == {TopicPartition(topic, 0), TopicPartition(topic, 1)}
    assert sum(ends.values()) == len(rows)
    assert consumer.committed(places) == dict.fromkeys(places)
    assert consumer.assignment() == set()
    consumer.close()


def test_a_missing_topic_is_reported_and_the_others_flow(broker: Broker, group: str) -> None:
    if broker.name == "kafka-kip848":
        pytest.skip("in this protocol the broker resolves the subscription, and says nothing of what it does not find")
    topic, heard = broker.topic(), Heard()
    broker.fill(topic, 3)
    consumer = broker.consumer(group)

    consumer.subscribe([topic, f"{topic}.missing"], listener=heard)
    records = poll_until(consumer, lambda records: len(records) >= 3 and bool(heard.told("failed")))

    assert {record.topic for record in records} == {topic}
    assert heard.told("failed")[0][0] == "UNKNOWN_TOPIC_OR_PART"
    assert "missing" in heard.told("failed")[0][1]
    consumer.close()


def test_missing_topics_are_found_and_created(broker: Broker) -> None:
    there, missing = broker.topic(), broker.topic() + ".new"

    assert broker.transport.missing_topics({there, missing}) == {missing}
    broker.transport.create_topics({there, missing})

    assert broker.transport.missing_topics({there, missing}) == set()
    broker.transport.create_topics({there, missing})


def test_a_foreign_record_comes_as_it_is(kafka: str, topic: str, group: str) -> None:
    foreign = Producer({"bootstrap.servers": kafka})
    foreign.produce(topic, None, b"", headers=[("a", None), ("a", b"\xff\xfe"), ("", b"")])
    assert foreign.flush(10) == 0

    consumer = KafkaTransport(bus_config(kafka)).open_consumer(ConsumerOptions(group=group, client_id="tests"))
    consumer.subscribe([topic], listener=Heard())
    (record,) = poll_until(consumer, lambda records: len(records) == 1)
    consumer.close()

    assert (record.key, record.value) == (b"", None)
    assert list(record.headers) == [("a", None), ("a", b"\xff\xfe"), ("", b"")]


@pytest.mark.parametrize("timestamp", [1_700_000_000_000_000, 2**63 - 1, -(2**63)])
def test_a_timestamp_that_is_no_date_stops_nothing(embedded_broker: EmbeddedBroker, group: str, timestamp: int) -> None:
    embedded_broker.create_topic("orders", partitions=1)
    foreign = Producer({"bootstrap.servers": embedded_broker.address})
    for value, at in ((b"before", 1_700_000_000_000), (b"microseconds", timestamp), (b"after", 1_700_000_000_001)):
        foreign.produce("orders", value, timestamp=at)
    assert foreign.flush(10) == 0

    transport = KafkaTransport(bus_config(embedded_broker.address))
    consumer = transport.open_consumer(ConsumerOptions(group=group, client_id="tests"))
    consumer.subscribe(["orders"], listener=Heard())
    records = poll_until(consumer, lambda records: len(records) == 3)
    consumer.close()

    assert [record.value for record in records] == [b"before", b"microseconds", b"after"]


def test_a_restarted_static_member_gets_its_partitions_back(kafka: str, topic: str, group: str) -> None:
    transport, heard = KafkaTransport(bus_config(kafka)), Heard()
    options = ConsumerOptions(group=group, client_id="tests", instance_id="pod-0")
    for _ in range(2):
        consumer = transport.open_consumer(options)
        consumer.subscribe([topic], listener=heard)
        poll_until(consumer, lambda _: bool(heard.assigned_now))
        consumer.close()

    assert heard.told("assigned") == [{TopicPartition(topic, 0)}] * 2


def test_a_header_name_that_is_not_utf8_stops_nothing(embedded_broker: EmbeddedBroker, group: str) -> None:
    embedded_broker.create_topic("orders", partitions=1)
    transport = KafkaTransport(bus_config(embedded_broker.address))
    sender = transport.open_sender(client_id="tests")
    sender.send([row("orders", note="before") for _ in range(500)], deadline=10)
    produce_with_header(embedded_broker.address, "orders", b"\xff\xfe", value=b"strange")
    sender.send([row("orders", note="after") for _ in range(500)], deadline=10)
    sender.close()

    consumer = transport.open_consumer(ConsumerOptions(group=group, client_id="tests"))
    consumer.subscribe(["orders"], listener=Heard())
    records = poll_until(consumer, lambda records: len(records) == 1001)
    consumer.close()

    # Hundreds of records around it: what the interpreter does with a call that it has made often is part of this.
    strange = [record for record in records if record.value == b"strange"]
    assert [list(record.headers) for record in strange] == [[("\ufffd", None)]]
    assert {record.headers[0] for record in records if record not in strange} == {
        ("note", b"before"),
        ("note", b"after"),
    }


def produce_with_header(address: str, topic: str, name: bytes, *, value: bytes) -> None:
    """Produce through librdkafka itself: its Python client cannot write such a name."""
    topic_is, value_is, headers_are, end = (ctypes.c_int(number) for number in (1, 4, 10, 0))
    library, text = embedded._library(), ctypes.create_string_buffer(200)
    library.rd_kafka_headers_new.restype = ctypes.c_void_p
    text_and_size: list[Any] = [ctypes.c_char_p, ctypes.c_ssize_t]
    library.rd_kafka_header_add.argtypes = [ctypes.c_void_p, *text_and_size, *text_and_size]
    library.rd_kafka_producev.argtypes = [ctypes.c_void_p]
    library.rd_kafka_flush.argtypes = [ctypes.c_void_p, ctypes.c_int]
    conf = library.rd_kafka_conf_new()
    library.rd_kafka_conf_set(conf, b"bootstrap.servers", address.encode(), text, len(text))
    producer = library.rd_kafka_new(0, conf, text, len(text))
    headers = library.rd_kafka_headers_new(ctypes.c_size_t(1))
    library.rd_kafka_header_add(headers, name, -1, b"v", 1)
    what = (topic_is, ctypes.c_char_p(topic.encode()), value_is, ctypes.c_char_p(value), ctypes.c_size_t(len(value)))
    assert library.rd_kafka_producev(producer, *what, headers_are, ctypes.c_void_p(headers), end) == 0
    assert library.rd_kafka_flush(producer, 10_000) == 0
    library.rd_kafka_destroy(producer)
