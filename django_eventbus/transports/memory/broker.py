"""What does a broker in memory keep, and how does a test make it fail?"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from django_eventbus.events.envelope import OutgoingRow, split_headers
from django_eventbus.events.keys import murmur2
from django_eventbus.transports.base import Failure, FailureKind, Record, TopicPartition


@dataclass(slots=True, kw_only=True)
class Fault:
    """What the next matching rows run into."""

    failure: Failure
    topic: str | None
    key: bytes | None
    times: int

    def matches(self, row: OutgoingRow) -> bool:
        """Say whether this fault is waiting for such a row."""
        return self.times > 0 and self.topic in (None, row[1]) and self.key in (None, row[2])


class Member(Protocol):
    """What a group must know of a consumer."""

    topics: frozenset[str]


@dataclass(slots=True, kw_only=True)
class Group:
    """The members of one consumer group, in the order in which they joined, and how far it is."""

    members: list[Member] = field(default_factory=list)
    owners: dict[TopicPartition, Member] = field(default_factory=dict)
    committed: dict[TopicPartition, int] = field(default_factory=dict)

    def target(self, place: TopicPartition) -> Member | None:
        """Tell who should own a partition: its number dealt out over the members that want its topic."""
        takers = [member for member in self.members if place.topic in member.topics]
        return takers[place.number % len(takers)] if takers else None


class MemoryBroker:
    """Keep topics, records and groups of one process; made for tests, which may let it fail.

    `changed` guards everything in it, and is notified of whatever a waiting consumer could want to know.
    """

    def __init__(self, *, partitions: int = 4, creates_topics: bool = True) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.topics: dict[str, list[list[Record]]] = {}
        self.groups: dict[str, Group] = {}
        self._partitions = partitions
        self._creates_topics = creates_topics
        self._faults: list[Fault] = []

    def create_topic(self, name: str, *, partitions: int | None = None) -> None:
        """Create a topic; one that exists is left alone."""
        with self.changed:
            self.topics.setdefault(name, [[] for _ in range(partitions or self._partitions)])
            self.changed.notify_all()

    def records(self, topic: str) -> list[Record]:
        """Return what a topic holds, partition by partition."""
        with self.changed:
            return [record for partition in self.topics.get(topic, []) for record in partition]

    def fail_next(
        self,
        kind: FailureKind,
        *,
        code: str = "INJECTED",
        topic: str | None = None,
        key: bytes | None = None,
        times: int = 1,
    ) -> None:
        """Let the next matching row fail, `times` times; a topic's failure takes its topic along."""
        with self.changed:
            self._faults.append(Fault(failure=Failure(kind, code), topic=topic, key=key, times=times))

    def receive(self, row: OutgoingRow) -> Failure | None:
        """Append a row to its partition, or say why not."""
        _, topic, key, headers, payload = row
        with self.changed:
            if fault := next((fault for fault in self._faults if fault.matches(row)), None):
                fault.times -= 1
                return fault.failure
            if topic not in self.topics:
                if not self._creates_topics:
                    return Failure(FailureKind.TOPIC, "UNKNOWN_TOPIC_OR_PART")
                self.create_topic(topic)
            partitions = self.topics[topic]
            spread = murmur2(key) & 0x7FFFFFFF if key else sum(map(len, partitions))
            number = spread % len(partitions)
            record = Record(
                topic=topic,
                partition=number,
                offset=len(partitions[number]),
                key=key or None,
                value=payload,
                headers=[(name, value.encode()) for name, value in split_headers(headers)],
                received_at=None,
            )
            partitions[number].append(record)
            self.changed.notify_all()
        return None

    def places(self, topics: Collection[str]) -> set[TopicPartition]:
        """Return the partitions of those topics that exist."""
        with self.changed:
            return {
                TopicPartition(topic, number) for topic in topics for number in range(len(self.topics.get(topic, [])))
            }
