"""How do tests run relay and consumer without any broker, the same way every time?"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from django_eventbus.conf import BusConfig
from django_eventbus.events.envelope import OutgoingRow
from django_eventbus.transports.base import (
    Capabilities,
    ConsumerOptions,
    Failure,
    FailureKind,
    SendResult,
)

from .broker import MemoryBroker
from .consumer import MemoryConsumer

__all__ = ["MemoryBroker", "MemoryConsumer", "MemorySender", "MemoryTransport"]

_NOT_SENT = Failure(FailureKind.NOT_SENT, "NOT_PRODUCED")


class MemoryTransport:
    """Move bytes within this process; `broker` is open to tests."""

    capabilities = Capabilities(ordered=True, consumable=True, replayable=True, max_message_bytes=None)

    def __init__(self, config: BusConfig) -> None:
        self.alias = config.alias
        self.broker = MemoryBroker()

    def open_sender(self, *, client_id: str) -> MemorySender:
        return MemorySender(self.broker)

    def open_consumer(self, options: ConsumerOptions) -> MemoryConsumer:
        return MemoryConsumer(self.broker, options)

    def missing_topics(self, topics: Collection[str]) -> set[str]:
        """Return those that do not exist."""
        return set(topics) - {place.topic for place in self.broker.places(topics)}

    def create_topics(self, topics: Collection[str]) -> None:
        """Create topics with the broker's default partitions; existing ones are left alone."""
        for topic in topics:
            self.broker.create_topic(topic)


class MemorySender:
    """Send rows to a broker in memory."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def send(self, rows: Sequence[OutgoingRow], *, deadline: float) -> SendResult:
        """Append rows in their order; behind one that failed its key waits, its topic fails, or everything does."""
        acked: list[int] = []
        failures: dict[int, Failure] = {}
        keys: set[tuple[str, bytes | None]] = set()
        topics: dict[str, Failure] = {}
        down: Failure | None = None
        for row in rows:
            row_id, topic, key = row[:3]
            if failure := down or topics.get(topic) or (_NOT_SENT if (topic, key) in keys else None):
                failures[row_id] = failure
                continue
            failure = self._broker.receive(row)
            if failure is None:
                acked.append(row_id)
                continue
            failures[row_id] = failure
            match failure.kind:
                case FailureKind.TRANSPORT_DOWN | FailureKind.PRODUCER_FAULT:
                    down = failure
                case FailureKind.TOPIC:
                    topics[topic] = failure
                case FailureKind.PERMANENT | FailureKind.OTHER | FailureKind.NOT_SENT:
                    keys.add((topic, key))
        return SendResult(acked=acked, failures=failures)

    def serve(self) -> None:
        """Do nothing: there is no work in the background."""

    def close(self) -> None:
        """Do nothing: nothing is queued."""
