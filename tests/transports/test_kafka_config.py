"""What our clients run with, and which settings are refused."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from typing import Any

import pytest
from confluent_kafka import Producer

from django_eventbus.conf import ConsumerConfig, OutboxConfig
from django_eventbus.exceptions import ConfigurationError
from django_eventbus.transports.base import ConsumerOptions
from django_eventbus.transports.kafka import KafkaTransport
from django_eventbus.transports.kafka.config import (
    FRAMING,
    admin_config,
    consumer_config,
    problems,
    producer_config,
    redacted,
)

from .conftest import bus_config

OPTIONS = ConsumerOptions(group="billing-dev", client_id="worker-1", instance_id="pod-0", report_ends=True)
PLAIN = {"consumer_options": {}, "outbox": OutboxConfig()}


def producer(**changes: Any) -> dict[str, Any]:
    return producer_config(bus_config("kafka:9092", **(PLAIN | changes)), client_id="relay")


def consumer(**changes: Any) -> dict[str, Any]:
    return consumer_config(bus_config("kafka:9092", **(PLAIN | changes)), OPTIONS)


def found(**changes: Any) -> list[str]:
    return problems(bus_config("kafka:9092", **(PLAIN | changes)))


def test_the_producer_keeps_order_and_notices_missing_topics() -> None:
    config = producer()

    assert config["enable.idempotence"] is config["enable.gapless.guarantee"] is True
    assert (config["acks"], config["partitioner"]) == ("all", "murmur2_random")
    assert config["topic.metadata.propagation.max.ms"] == 1000
    assert config["message.timeout.ms"] == 20_000
    assert (config["bootstrap.servers"], config["client.id"]) == ("kafka:9092", "relay")


@pytest.mark.parametrize(("deadline", "grace", "expected"), [(10, 30, 20_000), (1, 2, 1500), (10, 60, 35_000)])
def test_messages_time_out_between_deadline_and_grace(deadline: float, grace: float, expected: int) -> None:
    outbox = OutboxConfig(send_deadline=timedelta(seconds=deadline), grace=timedelta(seconds=grace))

    assert producer(outbox=outbox)["message.timeout.ms"] == expected
    assert found(outbox=outbox) == []


def test_later_sections_win_over_options_and_defaults() -> None:
    options = {"bootstrap.servers": "a:1", "linger.ms": 1, "compression.type": "zstd"}

    config = producer(options=options, producer_options={"queue.buffering.max.ms": 9})

    assert (config["bootstrap.servers"], config["linger.ms"], config["compression.type"]) == ("a:1", 9, "zstd")


def test_what_a_guarantee_hangs_on_cannot_be_overridden() -> None:
    weak = {"acks": 1, "enable.idempotence": False, "partitioner": "random", "error_cb": print, "group.id": "mine"}

    config = producer(producer_options=weak)
    reading = consumer(consumer_options={"enable.auto.offset.store": True, "group.id": "mine"})

    assert (config["acks"], config["enable.idempotence"], config["partitioner"]) == ("all", True, "murmur2_random")
    assert not {"error_cb", "group.id"} & config.keys()
    assert (reading["enable.auto.offset.store"], reading["group.id"]) == (False, "billing-dev")


def test_the_consumer_joins_cooperatively_from_the_beginning() -> None:
    config = consumer()

    assert config["partition.assignment.strategy"] == "cooperative-sticky"
    assert (config["auto.offset.reset"], config["enable.auto.commit"]) == ("earliest", True)
    assert (config["group.id"], config["group.instance.id"], config["client.id"]) == (
        "billing-dev",
        "pod-0",
        "worker-1",
    )
    assert config["enable.partition.eof"] is True


def test_the_new_group_protocol_leaves_out_what_the_broker_decides() -> None:
    config = consumer(consumer=ConsumerConfig(group_protocol="consumer"), consumer_options={"session.timeout.ms": 6000})

    assert config["group.protocol"] == "consumer"
    assert not {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"} & config.keys()


def test_an_admin_client_gets_the_shared_options_only() -> None:
    config = admin_config(bus_config("kafka:9092", producer_options={"linger.ms": 3}), client_id="topics")

    assert config["bootstrap.servers"] == "kafka:9092"
    assert "linger.ms" not in config


def test_sound_settings_have_no_problems() -> None:
    secure = {"bootstrap.servers": "kafka:9092", "security.protocol": "sasl_ssl", "sasl.mechanisms": "SCRAM-SHA-512"}

    assert found(options=secure, producer_options={"acks": "-1", "enable.idempotence": "true"}) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"options": {}}, ["['OPTIONS']['bootstrap.servers']", "missing"]),
        ({"producer_options": {"acks": 1}}, ["['PRODUCER_OPTIONS']['acks']", "'all'"]),
        ({"producer_options": {"request.required.acks": "0"}}, ["['request.required.acks']", "'all'"]),
        ({"producer_options": {"enable.gapless.guarantee": False}}, ["['enable.gapless.guarantee']"]),
        ({"consumer_options": {"enable.auto.commit": False}}, ["['CONSUMER_OPTIONS']['enable.auto.commit']"]),
        ({"consumer_options": {"group.instance.id": "x"}}, ["['group.instance.id']", "STATIC_MEMBERSHIP"]),
        ({"producer_options": {"transactional.id": "x"}}, ["['transactional.id']", "without transactions"]),
        ({"producer_options": {"delivery.timeout.ms": 60_000}}, ["message.timeout.ms", "0:01:00", "GRACE"]),
        ({"producer_options": {"message.timeout.ms": 5000}}, ["message.timeout.ms", "SEND_DEADLINE"]),
        ({"producer_options": {"message.timeout.ms": "soon"}}, ["message.timeout.ms", "'soon'", "milliseconds"]),
        ({"outbox": OutboxConfig(max_event_bytes=2_000_000)}, ["MAX_EVENT_BYTES", "message.max.bytes"]),
        ({"outbox": OutboxConfig(max_event_bytes=1_000_000)}, ["MAX_EVENT_BYTES", "message.max.bytes"]),
        (
            {"options": {"bootstrap.servers": "k:1", "sasl.mechanism": "FOO"}},
            ["['OPTIONS']['sasl.mechanism']", "'FOO'", "SCRAM-SHA-256"],
        ),
        ({"options": {"bootstrap.servers": "k:1", "lingre.ms": 5}}, ["['OPTIONS']['lingre.ms']", "'linger.ms'"]),
        ({"producer_options": {"lingre.ms": 5}}, ["['PRODUCER_OPTIONS']['lingre.ms']", "No such"]),
        ({"producer_options": {"message.max.bytes": "1MB"}}, ["['message.max.bytes']", "outside allowed range"]),
        ({"consumer_options": {"auto.offset.reset": "first"}}, ["['CONSUMER_OPTIONS']['auto.offset.reset']"]),
        ({"consumer_options": {"fetch.min.byts": 5}}, ["['CONSUMER_OPTIONS']['fetch.min.byts']"]),
    ],
)
def test_a_dangerous_setting_is_named_with_its_path(changes: dict[str, Any], words: list[str]) -> None:
    texts = found(**changes)

    assert any(all(word in text for word in words) for text in texts), texts
    assert all("EVENTBUS['default']" in text for text in texts)


def test_the_largest_event_that_the_check_allows_can_be_sent() -> None:
    largest = 1_000_000 - FRAMING
    bus = bus_config("127.0.0.1:1", **PLAIN | {"outbox": OutboxConfig(max_event_bytes=largest)})
    headers: list[tuple[str, str | bytes | None]] = [(f"ce_name{number:02}", b"x" * 13) for number in range(40)]
    used = 10 + sum(len(name) + len(value or b"") for name, value in headers)
    client = Producer(producer_config(bus, client_id="relay") | {"bootstrap.servers": ""})

    client.produce("orders", key=b"k" * 10, value=b"v" * (largest - used), headers=headers)  # raises what is too large

    client.purge()
    assert problems(bus) == []


def test_asking_for_what_librdkafka_takes_starts_nothing() -> None:
    before = threading.active_count(), len(os.listdir("/proc/self/task"))
    oauth = {"bootstrap.servers": "kafka:9092", "security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER"}

    assert found(options=oauth, producer_options={"oauth_cb": print}, consumer_options={"on_commit": print}) == []
    assert (threading.active_count(), len(os.listdir("/proc/self/task"))) == before


def test_a_transport_is_made_of_any_options_so_that_the_check_can_tell_what_is_wrong() -> None:
    transport = KafkaTransport(bus_config("kafka:9092", producer_options={"message.max.bytes": "1MB"}))

    assert any("message.max.bytes" in text for text in transport.problems())


def test_secrets_are_hidden() -> None:
    options = {"sasl.password": "hunter2", "ssl.key.pem": "-----", "bootstrap.servers": "kafka:9092"}

    assert redacted(options) == {"sasl.password": "*" * 8, "ssl.key.pem": "*" * 8, "bootstrap.servers": "kafka:9092"}


def test_an_unknown_option_is_an_error_of_the_settings() -> None:
    transport = KafkaTransport(bus_config("kafka:9092", options={"bootstrap.servers": "k:1", "lingre.ms": 5}))

    with pytest.raises(ConfigurationError, match=r"lingre\.ms"):
        transport.open_sender(client_id="relay")
    with pytest.raises(ConfigurationError, match=r"lingre\.ms"):
        transport.open_consumer(OPTIONS)
    with pytest.raises(ConfigurationError, match=r"lingre\.ms"):
        transport.missing_topics({"a"})
