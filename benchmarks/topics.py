"""How is a topic filled with ready records, and how is every record of it counted afterwards?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

FIRST_NUMBER = 100_000_000  # so that all payloads have the same size


class Numbered(msgspec.Struct):
    """Read the one field that counts."""

    number: int


def number_of(value: bytes) -> int:
    return msgspec.json.decode(value, type=Numbered).number


Ready = tuple[bytes, list[tuple[str, str]], bytes]  # key, headers, value


class Topic:
    """Be one topic of a benchmark; records are counted from where the last count ended."""

    def __init__(self, kafka: str, name: str, *, partitions: int) -> None:
        self.name = name
        self._kafka = kafka
        self._admin = AdminClient({"bootstrap.servers": kafka})
        new = NewTopic(name, num_partitions=partitions, replication_factor=1)
        self._admin.create_topics([new])[name].result(30)
        self._ends = dict.fromkeys(range(partitions), 0)
        self._reader: Consumer | None = None
        self._producer: Producer | None = None

    def fill(self, records: Iterable[Ready]) -> None:
        """Produce records as fast as it goes."""
        if self._producer is None:
            self._producer = Producer(
                {
                    "bootstrap.servers": self._kafka,
                    "enable.idempotence": True,
                    "compression.type": "lz4",
                    "partitioner": "murmur2_random",
                    "queue.buffering.max.messages": 2_000_000,
                    "linger.ms": 5,
                }
            )
        for key, headers, value in records:
            self._producer.produce(self.name, value, key, headers=headers)
        if self._producer.flush(60):
            raise RuntimeError(f"the broker did not take all records of {self.name}")

    def read_new(self, number_of: Callable[[bytes], int] = number_of) -> list[int]:
        """Return the numbers of all records since the last call, sorted; raise where a key is out of order."""
        reader = self._reader = self._reader or Consumer(
            {"bootstrap.servers": self._kafka, "group.id": f"{self.name}-count", "enable.auto.commit": False}
        )
        ends = {number: reader.get_watermark_offsets(TopicPartition(self.name, number), 10)[1] for number in self._ends}
        left = sum(ends.values()) - sum(self._ends.values())
        reader.assign([TopicPartition(self.name, number, start) for number, start in self._ends.items()])
        numbers: list[int] = []
        last: defaultdict[Any, int] = defaultdict(int)
        while len(numbers) < left:
            for message in reader.consume(min(10_000, left - len(numbers)), 10):
                if message.error() is not None:
                    raise RuntimeError(str(message.error()))
                number = number_of(message.value() or b"")
                if number <= last[message.key()]:
                    raise RuntimeError(f"{self.name}: {number} came after {last[message.key()]} of its key")
                last[message.key()] = number
                numbers.append(number - FIRST_NUMBER)
        self._ends = ends
        return sorted(numbers)

    def delete(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._admin.delete_topics([self.name])[self.name].exception(30)
