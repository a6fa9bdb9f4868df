"""How many events are committed, sent and handled by now, as two observers see it who outlive every fault?"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.proof.load.database import LoadDatabase
from tests.proof.load.rates import Series

EVERY = 0.25  # seconds
COUNTS = "SELECT (SELECT count(*) FROM load_published), (SELECT count(*) FROM load_effect)"


@dataclass(kw_only=True)
class Sampler:
    """Count by the clock of this process, which no fault touches; what does not answer is asked again."""

    database: LoadDatabase
    broker: str
    topic: str
    partitions: int
    every: float = EVERY
    committed: Series = field(default_factory=Series)
    handled: Series = field(default_factory=Series)
    sent: Series = field(default_factory=Series)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._ask_database, self._ask_broker)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def _ask_database(self) -> None:
        session: psycopg.Connection[Any] | None = None
        while not self._stop.wait(self.every):
            try:
                session = session or self.database.connect()
                row = session.execute(COUNTS).fetchone()
            except psycopg.Error:
                session = None
                continue
            assert row is not None
            now = time.monotonic()
            self.committed.add(now, row[0])
            self.handled.add(now, row[1])
        if session is not None:
            session.close()

    def _ask_broker(self) -> None:
        from confluent_kafka.cimpl import Consumer, KafkaException, TopicPartition

        quiet = {"log_level": 0, "reconnect.backoff.max.ms": 1000, "group.id": "observer"}
        client = Consumer({"bootstrap.servers": self.broker, **quiet})
        places = [TopicPartition(self.topic, number) for number in range(self.partitions)]
        while not self._stop.wait(self.every):
            try:
                ends = [client.get_watermark_offsets(place, timeout=1.0) for place in places]
            except KafkaException:
                continue
            if None not in ends:
                self.sent.add(time.monotonic(), sum(end for _, end in filter(None, ends)))
        client.close()
