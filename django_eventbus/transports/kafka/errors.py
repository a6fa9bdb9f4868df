"""What does each error code of Kafka mean for a row that was to be sent?"""

from __future__ import annotations

from confluent_kafka.cimpl import KafkaError

from django_eventbus.transports.base import FailureKind

_DOWN = (
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._RESOLVE,
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError._QUEUE_FULL,
    KafkaError._WAIT_COORD,
)
_RETRIED_BY_THE_CLIENT = (  # reaches a row only if it lasted as long as the client was ready to wait
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_PRODUCER_ID,
)
_FAULT = (
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.THROTTLING_QUOTA_EXCEEDED,
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
    KafkaError.INVALID_REQUIRED_ACKS,
    KafkaError.SECURITY_DISABLED,
    KafkaError.INVALID_TIMESTAMP,  # records carry the time at which they are sent: the clock of this machine is wrong
    KafkaError._FATAL,
    KafkaError._FENCED,
    KafkaError._GAPLESS_GUARANTEE,
    KafkaError._DESTROY,
)
_TOPIC = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
)
_PERMANENT = (
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    KafkaError.POLICY_VIOLATION,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError._INVALID_ARG,  # stands for the ValueError and TypeError of produce()
)

KIND_BY_CODE: dict[int, FailureKind] = (
    dict.fromkeys(_DOWN + _RETRIED_BY_THE_CLIENT, FailureKind.TRANSPORT_DOWN)
    | dict.fromkeys(_FAULT, FailureKind.PRODUCER_FAULT)
    | dict.fromkeys(_TOPIC, FailureKind.TOPIC)
    | dict.fromkeys(_PERMANENT, FailureKind.PERMANENT)
)
ACKED = frozenset({KafkaError.DUPLICATE_SEQUENCE_NUMBER})  # the broker has the record already
SUSPECT = frozenset({FailureKind.PERMANENT, FailureKind.OTHER, FailureKind.TOPIC})  # kinds that a row may have earned


def kind_of(code: int) -> FailureKind:
    """Tell what a relay must do with a row that came back with this code."""
    return KIND_BY_CODE.get(code, FailureKind.OTHER)


def reason_of(error: Exception) -> str:
    """Give the client's sentence, without the constructor that its exceptions are printed as."""
    first = error.args[0] if error.args else error
    return first.str() if isinstance(first, KafkaError) else str(error)


def name_of(code: int) -> str:
    """Give Kafka's own name of a code: `MSG_SIZE_TOO_LARGE`, `_TRANSPORT`."""
    return str(KafkaError(code).name())
