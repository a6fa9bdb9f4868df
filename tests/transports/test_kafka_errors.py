"""What each error code does to a row, provoked on the embedded broker where it can be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from django_eventbus.transports.base import FailureKind, SendResult
from django_eventbus.transports.kafka import KafkaTransport
from django_eventbus.transports.kafka.embedded import ApiKey, EmbeddedBroker
from django_eventbus.transports.kafka.errors import KIND_BY_CODE, kind_of, name_of
from django_eventbus.transports.kafka.sender import KafkaSender

from .conftest import bus_config, row

TOPIC = "test.errors"
PROTOCOL = {
    FailureKind.TRANSPORT_DOWN: """
        _PURGE_QUEUE _PURGE_INFLIGHT _MSG_TIMED_OUT _TRANSPORT _ALL_BROKERS_DOWN _TIMED_OUT _RESOLVE
        _AUTHENTICATION _SSL _QUEUE_FULL NOT_ENOUGH_REPLICAS NOT_ENOUGH_REPLICAS_AFTER_APPEND LEADER_NOT_AVAILABLE
        NOT_LEADER_FOR_PARTITION REQUEST_TIMED_OUT KAFKA_STORAGE_ERROR BROKER_NOT_AVAILABLE UNKNOWN_PRODUCER_ID""",
    FailureKind.PRODUCER_FAULT: """
        NETWORK_EXCEPTION FENCED_LEADER_EPOCH THROTTLING_QUOTA_EXCEEDED OUT_OF_ORDER_SEQUENCE_NUMBER
        INVALID_PRODUCER_EPOCH PRODUCER_FENCED CLUSTER_AUTHORIZATION_FAILED UNSUPPORTED_COMPRESSION_TYPE
        INVALID_REQUIRED_ACKS SECURITY_DISABLED INVALID_TIMESTAMP""",
    FailureKind.TOPIC: "UNKNOWN_TOPIC_OR_PART _UNKNOWN_PARTITION _UNKNOWN_TOPIC TOPIC_AUTHORIZATION_FAILED",
    FailureKind.PERMANENT: """MSG_SIZE_TOO_LARGE RECORD_LIST_TOO_LARGE INVALID_RECORD
        UNSUPPORTED_FOR_MESSAGE_FORMAT POLICY_VIOLATION TOPIC_EXCEPTION""",
    FailureKind.OTHER: "INVALID_CONFIG UNKNOWN INVALID_MSG_SIZE",
}
EXPECTED = [(name, kind) for kind, names in PROTOCOL.items() for name in names.split()]
RETRIED_BY_THE_CLIENT = [
    "NOT_ENOUGH_REPLICAS",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_FOR_PARTITION",
    "REQUEST_TIMED_OUT",
    "KAFKA_STORAGE_ERROR",
    "BROKER_NOT_AVAILABLE",
]


def codes_from_broker(kind: FailureKind) -> list[str]:
    return [name for name in PROTOCOL[kind].split() if not name.startswith("_")]


@pytest.fixture
def sender(embedded_broker: EmbeddedBroker) -> Iterator[KafkaSender]:
    embedded_broker.create_topic(TOPIC, partitions=1)
    sender = KafkaTransport(bus_config(embedded_broker.address)).open_sender(client_id="tests")
    sender.send([row(TOPIC)], deadline=10)
    yield sender
    sender.close()


def only_failure(result: SendResult) -> tuple[FailureKind, str]:
    (failure,) = result.failures.values()
    return failure.kind, failure.code


@pytest.mark.parametrize(("name", "kind"), EXPECTED)
def test_the_table_is_that_of_the_protocol(name: str, kind: FailureKind) -> None:
    code = getattr(KafkaError, name)

    assert kind_of(code) is kind
    assert name_of(code) == name


def test_no_code_is_in_the_table_by_accident() -> None:
    ours = {"_TIMED_OUT_QUEUE", "_WAIT_COORD", "_FATAL", "_FENCED", "_GAPLESS_GUARANTEE", "_DESTROY", "_INVALID_ARG"}

    assert {name_of(code) for code in KIND_BY_CODE} == ours | {
        name for name, kind in EXPECTED if kind is not FailureKind.OTHER
    }


@pytest.mark.parametrize("kind", [FailureKind.PERMANENT, FailureKind.OTHER, FailureKind.TOPIC])
def test_a_row_that_earned_its_error_gets_the_verdict_and_the_next_row_passes(
    embedded_broker: EmbeddedBroker, sender: KafkaSender, kind: FailureKind
) -> None:
    for name in codes_from_broker(kind):
        if name in {"UNKNOWN", "UNKNOWN_TOPIC_OR_PART"}:  # the client asks again: metadata may have been old
            continue
        embedded_broker.push_errors(ApiKey.PRODUCE, getattr(KafkaError, name))

        failed = sender.send([row(TOPIC)], deadline=5)
        embedded_broker.clear_errors(ApiKey.PRODUCE)
        passed = sender.send([row(TOPIC)], deadline=10)

        assert only_failure(failed) == (kind, name)
        assert not passed.failures


@pytest.mark.parametrize("name", codes_from_broker(FailureKind.PRODUCER_FAULT))
def test_a_fault_of_the_producer_is_nobodys_fault_and_a_new_producer_goes_on(
    embedded_broker: EmbeddedBroker, sender: KafkaSender, name: str
) -> None:
    embedded_broker.push_errors(ApiKey.PRODUCE, getattr(KafkaError, name))

    failed = sender.send([row(TOPIC)], deadline=5)
    embedded_broker.clear_errors(ApiKey.PRODUCE)
    passed = sender.send([row(TOPIC)], deadline=10)

    assert only_failure(failed) == (FailureKind.PRODUCER_FAULT, name)
    assert not passed.failures


@pytest.mark.parametrize("name", RETRIED_BY_THE_CLIENT)
def test_a_passing_trouble_of_the_broker_is_not_even_seen(
    embedded_broker: EmbeddedBroker, sender: KafkaSender, name: str
) -> None:
    embedded_broker.push_errors(ApiKey.PRODUCE, getattr(KafkaError, name))

    assert not sender.send([row(TOPIC)], deadline=10).failures


@pytest.mark.parametrize("name", ["NOT_ENOUGH_REPLICAS", "LEADER_NOT_AVAILABLE"])
def test_a_lasting_trouble_of_the_broker_is_an_outage(
    embedded_broker: EmbeddedBroker, sender: KafkaSender, name: str
) -> None:
    embedded_broker.push_errors(ApiKey.PRODUCE, *[getattr(KafkaError, name)] * 100)

    kind, _ = only_failure(sender.send([row(TOPIC)], deadline=1))

    assert kind is FailureKind.TRANSPORT_DOWN


def test_a_record_that_the_broker_has_already_is_acknowledged(
    embedded_broker: EmbeddedBroker, sender: KafkaSender
) -> None:
    sent = row(TOPIC)
    embedded_broker.push_errors(ApiKey.PRODUCE, KafkaError.DUPLICATE_SEQUENCE_NUMBER)

    assert list(sender.send([sent], deadline=5).acked) == [sent[0]]
