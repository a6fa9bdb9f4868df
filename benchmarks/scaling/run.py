"""What do all curves share: the servers, the scale, the rounds?"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
from confluent_kafka import Consumer, TopicPartition

from benchmarks.bench import tell
from tests.services import run as services

from .worlds import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Hold what curves are measured with."""

    stage: Stage
    scale: str
    rounds: int
    largest: int | None  # sizes above it are left out
    seed: str = field(default_factory=lambda: uuid.uuid4().hex[:8])  # of names of topics

    def rounds_with_warm_up(self) -> Iterator[int]:
        """Count the rounds from 0; what the first one measures is not kept."""
        for number in range(self.rounds + 1):
            tell(f"round {number} of {self.rounds}" if number else "warming up")
            yield number

    @contextmanager
    def sender(self) -> Iterator[Any]:
        """Open what sends to Kafka, as the relay does."""
        from django_eventbus.bus import buses

        sender = buses["default"].transport.open_sender(client_id="bench-scaling")
        try:
            yield sender
        finally:
            sender.close()

    def broker_processes(self) -> list[int]:
        """Return the process of Kafka, where this run has started it here."""
        service = services.started("kafka") if services.FOLDER_VARIABLE in os.environ else None
        if service is None or "keeper" not in service:
            return []
        return [child.pid for child in psutil.Process(int(service["keeper"])).children()]

    def records_of(self, topic: str) -> int:
        """Return how many records a topic has, by its offsets: every one of them was written by this run."""
        options = {"bootstrap.servers": self.stage.broker, "group.id": f"{topic}-count"}
        reader = Consumer(options)
        numbers = reader.list_topics(topic, 10).topics[topic].partitions
        ends = [reader.get_watermark_offsets(TopicPartition(topic, number), 10)[1] for number in numbers]
        reader.close()
        return sum(ends)
