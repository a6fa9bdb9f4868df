"""How batches become verdicts: suspects, priming, silence, new producers; on Apache Kafka where only it can tell."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from django_eventbus.events.envelope import OutgoingRow
from django_eventbus.transports.base import FailureKind, Record
from django_eventbus.transports.kafka import KafkaTransport
from django_eventbus.transports.kafka.embedded import ApiKey, EmbeddedBroker
from django_eventbus.transports.kafka.sender import KafkaSender

from .conftest import Broker, Heard, bus_config, noise, poll_until, row

SMALL_TOPIC = {"max.message.bytes": "2000"}


@pytest.fixture
def sender(kafka: str) -> Iterator[KafkaSender]:
    sender = KafkaTransport(bus_config(kafka)).open_sender(client_id="tests")
    yield sender
    sender.close()


@pytest.fixture
def embedded_sender(embedded_broker: EmbeddedBroker) -> Iterator[KafkaSender]:
    sender = KafkaTransport(bus_config(embedded_broker.address)).open_sender(client_id="tests")
    yield sender
    sender.close()


@pytest.fixture
def read(kafka: str, group: str) -> Callable[..., list[Record]]:
    def read(topic: str) -> list[Record]:
        """Everything that a topic holds now."""
        heard, transport = Heard(), KafkaTransport(bus_config(kafka))
        consumer = Broker("kafka", transport, lambda *_: None).consumer(group + topic, report_ends=True)
        ends = consumer.end_offsets(consumer.partitions_of([topic]))
        consumer.subscribe([topic], listener=heard)
        records = poll_until(consumer, lambda _: {place for place, _ in heard.told("reached_end")} == ends.keys())
        consumer.close()
        return records

    return read


def kinds(result: Any, rows: list[OutgoingRow]) -> list[FailureKind | None]:
    """The verdicts in the order of the rows; None for acknowledged ones."""
    acked = set(result.acked)
    assert acked | result.failures.keys() == {row[0] for row in rows}
    assert not acked & result.failures.keys()
    return [None if row[0] in acked else result.failures[row[0]].kind for row in rows]


def drain(sender: KafkaSender, rows: list[OutgoingRow], *, deadline: float = 10) -> tuple[list[int], list[int]]:
    """Send as a relay does, again what was not acknowledged; give the acknowledged and the dead ids."""
    acked: list[int] = []
    dead: list[int] = []
    for _ in range(50):
        result = sender.send(rows, deadline=deadline)
        acked += result.acked
        dead += [id_ for id_, failure in result.failures.items() if failure.kind is FailureKind.PERMANENT]
        rows = [row for row in rows if row[0] not in {*acked, *dead}]
        if not rows:
            return acked, dead
    pytest.fail(f"{len(rows)} rows got no verdict")


def in_order(records: list[Record], sent: list[OutgoingRow]) -> bool:
    """Whether the first arrivals of each key follow the order of ids."""
    order = {row[4]: row[0] for row in sent}
    highest: dict[bytes | None, int] = {}
    seen: set[int] = set()
    for record in records:
        id_ = order[record.value]
        if id_ not in seen and id_ < highest.get(record.key, 0):
            return False
        seen.add(id_)
        highest[record.key] = max(id_, highest.get(record.key, 0))
    return True


@pytest.fixture
def hasty_sender(kafka: str) -> Iterator[KafkaSender]:
    """A sender with small batches, so that many requests are under way at once."""
    config = bus_config(kafka, producer_options={"batch.size": 2000, "linger.ms": 0})
    sender = KafkaTransport(config).open_sender(client_id="tests")
    yield sender
    sender.close()


@pytest.mark.parametrize("is_primed", [True, False])
@pytest.mark.parametrize("is_alone_in_its_request", [True, False])
def test_one_bad_record_among_many_is_found_and_no_key_loses_its_order(
    hasty_sender: KafkaSender,
    make_topic: Callable[..., str],
    read: Callable[..., list[Record]],
    is_alone_in_its_request: bool,
    is_primed: bool,
) -> None:
    topic = make_topic(partitions=1, config={"max.message.bytes": "4000", "cleanup.policy": "compact"})
    if is_primed:
        hasty_sender.send([row(topic, b"primer", b"primer")], deadline=10)
    rows = [row(topic, b"k%d" % (n % 3), b"%06d" % n + noise(100)) for n in range(60)]
    too_large, without_key = (b"k0", b"bad" + noise(6000)), (None, b"bad")
    bad = row(topic, *(too_large if is_alone_in_its_request else without_key))
    rows += [bad, *(row(topic, b"k%d" % (n % 3), b"%06d" % n + noise(100)) for n in range(60, 600))]

    acked, dead = drain(hasty_sender, rows)

    assert dead == [bad[0]]
    assert sorted(acked) == sorted({row[0] for row in rows} - {bad[0]})
    records = [record for record in read(topic) if record.key != b"primer"]
    assert {record.value for record in records} == {row[4] for row in rows} - {bad[4]}
    assert in_order(records, rows)


@pytest.mark.parametrize("is_first", [True, False])
def test_later_rows_of_a_refused_key_wait_for_the_verdict(
    sender: KafkaSender, make_topic: Callable[..., str], is_first: bool
) -> None:
    topic = make_topic(partitions=1, config=SMALL_TOPIC)
    if not is_first:
        sender.send([row(topic)], deadline=10)
    bad, later, other = row(topic, b"a", noise(5000)), row(topic, b"a", b"later"), row(topic, b"b", b"other")

    result = sender.send([bad, later, other], deadline=10)

    assert result.failures[bad[0]] == (FailureKind.PERMANENT, "MSG_SIZE_TOO_LARGE")
    assert result.failures[later[0]].kind is FailureKind.NOT_SENT


def test_a_row_that_the_client_itself_refuses_holds_back_its_key_only(
    sender: KafkaSender, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(partitions=1)
    sender.send([row(topic)], deadline=10)
    too_large, later, other = row(topic, b"a", noise(1_100_000)), row(topic, b"a", b"later"), row(topic, b"b", b"other")

    result = sender.send([too_large, later, other], deadline=10)

    assert kinds(result, [too_large, later, other]) == [FailureKind.PERMANENT, FailureKind.NOT_SENT, None]


def test_headers_that_cannot_be_split_are_permanent(sender: KafkaSender, topic: str) -> None:
    broken = (1, topic, b"k", "name-without-value", b"{}")

    assert sender.send([broken], deadline=10).failures == {1: (FailureKind.PERMANENT, "_INVALID_ARG")}


def test_a_record_without_key_is_refused_by_a_compacted_topic(
    sender: KafkaSender, make_topic: Callable[..., str], read: Callable[..., list[Record]]
) -> None:
    topic = make_topic(partitions=1, config={"cleanup.policy": "compact"})
    rows = [row(topic, b"k%d" % n, b"%d" % n) for n in range(20)]
    bad = row(topic, None, b"no key")

    acked, dead = drain(sender, [*rows[:7], bad, *rows[7:]])

    assert dead == [bad[0]]
    assert sorted(acked) == [row[0] for row in rows]
    assert in_order(read(topic), rows)


def test_a_missing_topic_steps_aside_as_a_whole_and_the_others_go_on(sender: KafkaSender, topic: str) -> None:
    missing = f"{topic}.missing"
    rows = [row(topic, b"a"), row(missing, b"a"), row(topic, b"b"), row(missing, b"b")]

    first = sender.send(rows, deadline=10)
    again = sender.send([row for row in rows if row[0] not in set(first.acked)], deadline=10)

    assert first.failures[rows[1][0]] == (FailureKind.TOPIC, "UNKNOWN_TOPIC_OR_PART")
    assert {row[1] for row in rows if row[0] in first.acked} == {topic}
    assert kinds(again, [row for row in rows if row[1] == missing])[0] is FailureKind.TOPIC


def test_a_topic_created_later_is_found(kafka: str, sender: KafkaSender, topic: str, make_topic: Any) -> None:
    later = f"{topic}.later"
    wanted = row(later)
    assert kinds(sender.send([wanted], deadline=10), [wanted]) == [FailureKind.TOPIC]

    make_topic(later)

    acked, _ = drain(sender, [wanted])
    assert acked == [wanted[0]]


def test_batches_shrink_where_a_topic_takes_less_than_one(
    sender: KafkaSender, make_topic: Callable[..., str], read: Callable[..., list[Record]]
) -> None:
    topic = make_topic(partitions=1, config={"max.message.bytes": "200000"})
    rows = [row(topic, b"k%d" % (n % 10), noise(2000)) for n in range(200)]
    sender.send([row(topic)], deadline=10)

    acked, dead = drain(sender, rows)
    more = [row(topic, b"k%d" % (n % 10), noise(2000)) for n in range(200)]
    result = sender.send(more, deadline=10)

    assert not dead
    assert sorted(acked) == [row[0] for row in rows]
    assert not result.failures
    assert sender._config["batch.size"] == 125_000
    assert len(read(topic)) >= 401


def test_of_what_a_new_producer_reports_as_unsent_only_the_first_row_of_a_key_may_be_written(
    hasty_sender: KafkaSender, make_topic: Callable[..., str], read: Callable[..., list[Record]]
) -> None:
    topic = make_topic(partitions=1, config={"max.message.bytes": "4000"})
    bad = row(topic, b"k0", b"bad" + noise(6000))
    rows = [bad, *(row(topic, b"k%d" % (n % 3), b"%06d" % n + noise(500)) for n in range(500))]
    first_of_key = {row[2]: row[4] for row in reversed(rows)}

    result = hasty_sender.send(rows, deadline=10)

    # Sent again they are duplicates in the right place; a later row of a key would have overtaken the first.
    acked = {row[4] for row in rows if row[0] in set(result.acked)}
    assert result.failures[bad[0]].kind is FailureKind.PERMANENT
    assert {record.value for record in read(topic)} - acked <= set(first_of_key.values())


def test_a_known_partition_needs_nobody_ahead(sender: KafkaSender, make_topic: Callable[..., str]) -> None:
    topic = make_topic(partitions=2)
    sender.send([row(topic, b"%d" % n) for n in range(20)], deadline=10)

    ahead, rest = sender._priming.split(rows := [row(topic, b"%d" % n) for n in range(20)])

    assert (list(ahead), list(rest)) == ([], rows)


def test_an_outage_costs_no_row_and_the_same_sender_recovers(own_kafka: Any) -> None:
    admin = AdminClient({"bootstrap.servers": own_kafka.address})
    transport = KafkaTransport(bus_config(own_kafka.address))
    transport.create_topics({"orders"})
    sender = transport.open_sender(client_id="tests")
    before, during = row("orders", b"a", b"1"), [row("orders", b"a", b"%d" % n) for n in range(2, 50)]
    assert not sender.send([before], deadline=10).failures

    own_kafka.stop()
    down = sender.send(during, deadline=2)
    down_again = sender.send(during, deadline=1)
    own_kafka.start()
    acked, dead = drain(sender, during)

    assert set(kinds(down, during)) == set(kinds(down_again, during)) == {FailureKind.TRANSPORT_DOWN}
    assert (sorted(acked), dead) == ([row[0] for row in during], [])
    sender.close()
    del admin


def test_a_broker_that_was_never_there_is_an_outage() -> None:
    sender = KafkaTransport(bus_config("127.0.0.1:1")).open_sender(client_id="tests")

    result = sender.send(rows := [row("orders", b"%d" % n) for n in range(3)], deadline=0.5)

    assert kinds(result, rows) == [FailureKind.TRANSPORT_DOWN] * 3
    sender.serve()
    sender.close()


def test_a_silent_topic_steps_aside_only_after_its_second_silence(
    embedded_broker: EmbeddedBroker, embedded_sender: KafkaSender
) -> None:
    for name in ("loud", "silent"):
        embedded_broker.create_topic(name, partitions=1)
        embedded_sender.send([row(name)], deadline=10)
    embedded_broker.push_partition_errors("silent", 0, ApiKey.PRODUCE, *[KafkaError.NOT_ENOUGH_REPLICAS] * 200)

    first = embedded_sender.send(rows := [row("loud"), row("silent")], deadline=1)
    second = embedded_sender.send(again := [row("loud"), rows[1]], deadline=1)

    assert kinds(first, rows) == [None, FailureKind.NOT_SENT]
    assert kinds(second, again) == [None, FailureKind.TOPIC]


def test_a_silent_partition_of_a_living_topic_sets_its_keys_aside(
    embedded_broker: EmbeddedBroker, embedded_sender: KafkaSender
) -> None:
    embedded_broker.create_topic("orders", partitions=2)
    keys = [b"a", b"b", b"c", b"d", b"e", b"f"]
    embedded_sender.send([row("orders", key) for key in keys], deadline=10)
    embedded_broker.push_partition_errors("orders", 0, ApiKey.PRODUCE, *[KafkaError.NOT_ENOUGH_REPLICAS] * 200)

    found: list[FailureKind | None] = []
    for _ in range(8):
        result = embedded_sender.send(rows := [row("orders", key) for key in keys], deadline=0.4)
        found += sorted(set(kinds(result, rows)), key=lambda kind: kind is not None)

    # The living partition goes on each time: a purge of the silent one must not reach into the next batch.
    assert found[0::2] == [None] * 8
    if FailureKind.PRODUCER_FAULT in found:  # seldom, the mock does not know a record that comes behind a purged one
        assert FailureKind.OTHER in found
    else:
        assert found[1::2] == [FailureKind.NOT_SENT, FailureKind.OTHER] * 4


def test_an_outage_between_does_not_count_as_silence(
    embedded_broker: EmbeddedBroker, embedded_sender: KafkaSender
) -> None:
    embedded_broker.create_topic("orders", partitions=1)
    embedded_sender.send([row("orders")], deadline=10)

    embedded_broker.set_down()
    down = [embedded_sender.send([row("orders")], deadline=0.5) for _ in range(3)]
    embedded_broker.set_up()
    up = embedded_sender.send([row("orders")], deadline=10)

    assert all(failure.kind is FailureKind.TRANSPORT_DOWN for result in down for failure in result.failures.values())
    assert not up.failures


def test_a_forked_child_gets_a_producer_of_its_own(
    embedded_broker: EmbeddedBroker, embedded_sender: KafkaSender
) -> None:
    embedded_broker.create_topic("orders", partitions=1)
    embedded_sender.send([row("orders")], deadline=10)

    child = os.fork()
    if child == 0:
        gc.disable()  # an inherited client of another test, collected here, would wait for threads that stayed behind
        try:
            os._exit(0 if embedded_sender.send([row("orders")], deadline=10).acked else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert embedded_sender.send([row("orders")], deadline=10).acked


def test_no_rows_need_no_broker() -> None:
    sender = KafkaTransport(bus_config("127.0.0.1:1")).open_sender(client_id="tests")

    assert sender.send([], deadline=1).acked == []
    sender.close()
