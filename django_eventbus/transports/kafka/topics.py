"""Which topics exist on the brokers, and how are missing ones made?"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import KafkaError, KafkaException, NewTopic, Producer

from django_eventbus.exceptions import ConfigurationError, TransportUnavailable

from .errors import name_of, reason_of
from .logs import logger

_ANSWER = 10.0  # seconds to wait for the brokers
_LOOK_AGAIN = 0.1
_EMBEDDED = "mockCluster"  # how the cluster id of the embedded broker begins


class KafkaTopics:
    """Look at and create the topics of one cluster; a client lives as long as this object."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = {**config, "logger": logger}
        try:
            self._admin = AdminClient(self._config)
        except (KafkaException, TypeError, ValueError) as exc:
            raise ConfigurationError(
                f"The Kafka client refuses its options: {reason_of(exc)}. Correct OPTIONS of this bus in EVENTBUS."
            ) from exc

    def missing(self, topics: Collection[str]) -> set[str]:
        """Return those that do not exist; raise TransportUnavailable if nobody answers."""
        return set(topics) - self._existing().keys() if topics else set()

    def create(self, topics: Collection[str]) -> None:
        """Create those that do not exist, with the broker's own number of partitions and replicas."""
        wanted = self.missing(topics)
        if not wanted:
            return
        if self._is_embedded():
            self._create_by_asking(wanted)
            return
        new = [NewTopic(topic, num_partitions=-1, replication_factor=-1) for topic in sorted(wanted)]
        for topic, outcome in self._admin.create_topics(
            new, operation_timeout=_ANSWER, request_timeout=_ANSWER
        ).items():
            try:
                outcome.result()
            except KafkaException as exc:
                if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    _refuse(f"did not create topic {topic!r}", exc)
        self._await(wanted)

    def _existing(self) -> dict[str, Any]:
        try:
            found = self._admin.list_topics(timeout=_ANSWER)
        except KafkaException as exc:
            _refuse("did not list its topics", exc)
        return {name: topic for name, topic in found.topics.items() if topic.error is None}

    def _is_embedded(self) -> bool:
        return str(self._admin.list_topics(timeout=_ANSWER).cluster_id).startswith(_EMBEDDED)

    def _create_by_asking(self, topics: Collection[str]) -> None:
        # The embedded broker does not know CreateTopics, but makes every topic that a producer asks about.
        asking = Producer(self._config)
        for topic in sorted(topics):
            try:
                asking.list_topics(topic, timeout=_ANSWER)
            except KafkaException as exc:
                _refuse(f"did not create topic {topic!r}", exc)
        self._await(topics)

    def _await(self, topics: Collection[str]) -> None:
        end = time.monotonic() + _ANSWER
        while missing := self.missing(topics):
            if time.monotonic() > end:
                raise TransportUnavailable(
                    f"Kafka accepted, but does not show yet, topics {sorted(missing)} after {_ANSWER:g} s: try again."
                )
            time.sleep(_LOOK_AGAIN)


def _refuse(what: str, exc: KafkaException) -> NoReturn:
    error = exc.args[0]
    match error.code():
        case KafkaError._TIMED_OUT | KafkaError._TRANSPORT | KafkaError._ALL_BROKERS_DOWN | KafkaError._RESOLVE:
            remedy = "Check that the brokers in OPTIONS['bootstrap.servers'] run and can be reached from here."
        case KafkaError._UNSUPPORTED_FEATURE | KafkaError.UNSUPPORTED_VERSION:
            remedy = "This broker cannot do it: create the topics with its own tools."
        case _:
            remedy = "Give this client the right to do it, or create the topics with the tools of the cluster."
    raise TransportUnavailable(f"Kafka {what}: {name_of(error.code())} ({error.str()}). {remedy}") from exc
