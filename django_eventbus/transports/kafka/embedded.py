"""How does a Kafka broker run inside this process, for demo, development and tests?

librdkafka brings a mock cluster for its own tests; this binds it by ctypes. It keeps everything in memory, at most
5 MB a partition, and knows neither transactions nor security: never more than a development broker.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, Self

import confluent_kafka

from .forwarder import Forwarder

# What clients should set to be quick on this broker: it answers an empty fetch only when its time is over, and takes
# a whole session time-out for every rebalance after the first.
CONSUMER_OPTIONS = {
    "fetch.wait.max.ms": 20,
    "session.timeout.ms": 2000,
    "heartbeat.interval.ms": 200,
    "topic.metadata.refresh.interval.ms": 1000,
}

_PRODUCER_HANDLE = 0
_ALL_BROKERS = -1
_LIBRARIES = ("../confluent_kafka.libs/librdkafka*", ".dylibs/librdkafka*", "../confluent_kafka.libs/*rdkafka*.dll")
_POINTER, _TEXT, _INT, _SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
_SHORT, _INT32, _INT64 = ctypes.c_int16, ctypes.c_int32, ctypes.c_int64
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "conf_new": (_POINTER, []),
    "conf_set": (_INT, [_POINTER, _TEXT, _TEXT, _TEXT, _SIZE]),
    "new": (_POINTER, [_INT, _POINTER, _TEXT, _SIZE]),
    "destroy": (None, [_POINTER]),
    "mock_cluster_new": (_POINTER, [_POINTER, _INT]),
    "mock_cluster_destroy": (None, [_POINTER]),
    "mock_cluster_bootstraps": (_TEXT, [_POINTER]),
    "mock_topic_create": (_INT, [_POINTER, _TEXT, _INT, _INT]),
    "mock_topic_delete": (_INT, [_POINTER, _TEXT]),
    "mock_topic_set_error": (None, [_POINTER, _TEXT, _INT]),
    "mock_group_initial_rebalance_delay_ms": (None, [_POINTER, _INT32]),
    "mock_set_group_consumer_heartbeat_interval_ms": (None, [_POINTER, _INT]),
    "mock_push_request_errors_array": (None, [_POINTER, _SHORT, _SIZE, ctypes.POINTER(_INT)]),
    "mock_partition_push_request_errors": (_INT, [_POINTER, _TEXT, _INT32, _SHORT, _SIZE]),  # then any number of _INT
    "mock_clear_request_errors": (None, [_POINTER, _SHORT]),
    "mock_broker_set_down": (_INT, [_POINTER, _INT32]),
    "mock_broker_set_up": (_INT, [_POINTER, _INT32]),
    "mock_broker_set_rtt": (_INT, [_POINTER, _INT32, _INT]),
    "mock_broker_set_host_port": (None, [_POINTER, _INT32, _TEXT, _INT]),
    "mock_partition_delete_records": (_INT, [_POINTER, _TEXT, _INT32, _INT64]),
}


class ApiKey(IntEnum):
    """Name the requests that errors can be injected into."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    INIT_PRODUCER_ID = 22


class EmbeddedBroker:
    """Run a broker until `close()`; other processes reach it at `address`.

    With a port it is reached there, through a forwarder; else at a free port of its own. Errors are numbers of
    `KafkaError`.
    """

    def __init__(self, *, port: int | None = None, host: str = "127.0.0.1") -> None:
        self._library = _library()
        text = ctypes.create_string_buffer(512)
        conf = self._library.rd_kafka_conf_new()
        self._library.rd_kafka_conf_set(conf, b"log_level", b"0", text, len(text))
        self._handle = self._library.rd_kafka_new(_PRODUCER_HANDLE, conf, text, len(text))
        if not self._handle:
            raise RuntimeError(f"The embedded broker did not start: {text.value.decode()}")
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._handle, 1)
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self._library.rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(self._cluster, 200)
        self.address: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        self._forwarder: Forwarder | None = None
        if port is not None:
            self._forward(host, port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the broker and forget all its records."""
        if self._forwarder is not None:
            self._forwarder.close()
            self._forwarder = None
        if self._handle:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._handle)
            self._handle = self._cluster = None

    def create_topic(self, name: str, *, partitions: int = 4) -> None:
        """Create a topic; one that exists is left alone."""
        self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)

    def delete_topic(self, name: str) -> None:
        """Delete a topic with its records."""
        self._library.rd_kafka_mock_topic_delete(self._cluster, name.encode())

    def set_topic_error(self, name: str, code: int) -> None:
        """Let every request for a topic fail with `code`; 0 ends it."""
        self._library.rd_kafka_mock_topic_set_error(self._cluster, name.encode(), code)

    def push_errors(self, request: ApiKey, *codes: int) -> None:
        """Answer the next requests of a kind with these errors, one each."""
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, request, len(codes), _integers(codes))

    def push_partition_errors(self, topic: str, partition: int, request: ApiKey, *codes: int) -> None:
        """Answer the next requests of a kind for one partition with these errors, one each."""
        push = self._library.rd_kafka_mock_partition_push_request_errors
        push(self._cluster, topic.encode(), partition, request, len(codes), *map(_INT, codes))

    def clear_errors(self, request: ApiKey) -> None:
        """Forget the errors that were pushed and not yet given."""
        self._library.rd_kafka_mock_clear_request_errors(self._cluster, request)

    def set_down(self) -> None:
        """Close all connections and take no new ones."""
        self._library.rd_kafka_mock_broker_set_down(self._cluster, _ALL_BROKERS)

    def set_up(self) -> None:
        """Take connections again."""
        self._library.rd_kafka_mock_broker_set_up(self._cluster, _ALL_BROKERS)

    def set_latency(self, milliseconds: int) -> None:
        """Answer every request this much later."""
        self._library.rd_kafka_mock_broker_set_rtt(self._cluster, _ALL_BROKERS, milliseconds)

    def delete_records(self, topic: str, partition: int, *, before: int) -> None:
        """Delete the records of a partition below an offset, as retention would."""
        self._library.rd_kafka_mock_partition_delete_records(self._cluster, topic.encode(), partition, before)

    def _forward(self, host: str, port: int) -> None:
        target, _, number = self.address.rpartition(":")
        try:
            self._forwarder = Forwarder(host=host, port=port, to=(target, int(number)))
        except OSError:
            self.close()
            raise
        # What clients are told to connect to, after their first question.
        self._library.rd_kafka_mock_broker_set_host_port(self._cluster, 1, host.encode(), self._forwarder.port)
        self.address = f"{host}:{self._forwarder.port}"


def _integers(values: Sequence[int]) -> Any:
    return (ctypes.c_int * len(values))(*values)


def _library() -> ctypes.CDLL:
    """Load the copy of librdkafka that the Python client has loaded already, and declare what is used of it."""
    folder = Path(confluent_kafka.__file__).parent
    found = next((path for pattern in _LIBRARIES for path in sorted(folder.glob(pattern))), None)
    if found is None:
        raise RuntimeError(
            "The embedded broker needs the librdkafka inside the wheel of confluent-kafka, and there is none "
            f"beside {folder}. Install the wheel (pip install --only-binary :all: confluent-kafka), or start Kafka."
        )
    library = ctypes.CDLL(str(found.resolve()))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, f"rd_kafka_{name}")
        function.restype, function.argtypes = result, arguments
    return library
