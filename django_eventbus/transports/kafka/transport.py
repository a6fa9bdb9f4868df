"""What does a bus use of Kafka?"""

from __future__ import annotations

from collections.abc import Collection

from django_eventbus.conf import BusConfig
from django_eventbus.transports.base import Capabilities, ConsumerOptions

from .config import LARGEST_RECORD, admin_config, consumer_config, problems, producer_config
from .consumer import KafkaConsumer
from .sender import KafkaSender
from .topics import KafkaTopics


class KafkaTransport:
    """Move bytes over Apache Kafka with librdkafka's clients; nothing is contacted before a method asks for it."""

    def __init__(self, config: BusConfig) -> None:
        self._config = config
        limit = str(producer_config(config, client_id="")["message.max.bytes"])
        largest = int(limit) if limit.isdigit() else LARGEST_RECORD  # the check tells what is no number
        self.capabilities = Capabilities(ordered=True, consumable=True, replayable=True, max_message_bytes=largest)

    def open_sender(self, *, client_id: str) -> KafkaSender:
        return KafkaSender(producer_config(self._config, client_id=client_id))

    def open_consumer(self, options: ConsumerOptions) -> KafkaConsumer:
        return KafkaConsumer(consumer_config(self._config, options))

    def missing_topics(self, topics: Collection[str]) -> set[str]:
        """Return those that do not exist; raise TransportUnavailable if nobody answers."""
        return self._topics().missing(topics)

    def create_topics(self, topics: Collection[str]) -> None:
        """Create topics with the broker's default partitions; existing ones are left alone."""
        self._topics().create(topics)

    def problems(self) -> list[str]:
        """List the settings that would break a guarantee or fail at start; contacts nothing."""
        return problems(self._config)

    def _topics(self) -> KafkaTopics:
        return KafkaTopics(admin_config(self._config, client_id=f"{self._config.service}-topics"))
