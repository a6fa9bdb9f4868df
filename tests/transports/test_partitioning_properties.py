"""The client puts each record where our own hash says: on a real topic with a prime number of partitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from django_eventbus.events.envelope import OutgoingRow
from django_eventbus.events.keys import murmur2
from django_eventbus.transports.base import ConsumerOptions
from django_eventbus.transports.kafka import KafkaTransport

from .conftest import Heard, bus_config, poll_until, row

PARTITIONS = 13
keys = st.one_of(
    st.none(),
    st.just(b""),
    st.binary(max_size=20),
    st.uuids().map(lambda uuid: str(uuid).encode()),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace")),
    st.binary(min_size=200, max_size=400),
)


@pytest.mark.services
def test_every_key_lands_in_the_partition_that_its_hash_names(
    kafka: str, make_topic: Callable[..., str], group: str
) -> None:
    transport, topic = KafkaTransport(bus_config(kafka)), make_topic(partitions=PARTITIONS)
    sent = [None, b"", *(b"key%d" % number for number in range(2000)), *generated_keys()]
    rows: list[OutgoingRow] = [row(topic, key, b"%d" % number) for number, key in enumerate(sent)]
    sender = transport.open_sender(client_id="tests")
    result = sender.send(rows, deadline=30)
    sender.close()
    assert not result.failures

    consumer = transport.open_consumer(ConsumerOptions(group=group, client_id="tests"))
    consumer.subscribe([topic], listener=Heard())
    records = poll_until(consumer, lambda records: len(records) >= len(sent))
    consumer.close()

    assert len(records) == len(sent)
    for record in records:
        key = sent[int(record.value or b"")]
        assert record.key == (key or None)  # an empty key is sent as none, and lies anywhere
        if key:
            assert record.partition == (murmur2(key) & 0x7FFFFFFF) % PARTITIONS, key
    assert {record.partition for record in records} == set(range(PARTITIONS))


def generated_keys() -> list[bytes | None]:
    """Return keys of every kind, some hundreds of them, or as many as the profile says."""
    found: list[bytes | None] = []

    @settings(suppress_health_check=list(HealthCheck), phases=[Phase.generate], database=None)
    @given(st.lists(keys, min_size=5, max_size=20))
    def gather(drawn: list[Any]) -> None:
        found.extend(drawn)

    gather()
    return found
