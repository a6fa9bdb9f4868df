"""Kafka behind a sender that dawdles before and after each batch, so that kills and freezes hit every window."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from django_eventbus.events.envelope import OutgoingRow
from django_eventbus.transports.base import SendResult
from django_eventbus.transports.kafka.sender import KafkaSender
from django_eventbus.transports.kafka.transport import KafkaTransport

LONGEST_PAUSE = 0.05


class SlowSender:
    def __init__(self, sender: KafkaSender) -> None:
        self._sender = sender
        self.serve = sender.serve
        self.close = sender.close

    def send(self, rows: Sequence[OutgoingRow], *, deadline: float) -> SendResult:
        time.sleep(random.random() * LONGEST_PAUSE)
        result = self._sender.send(rows, deadline=deadline)
        time.sleep(random.random() * LONGEST_PAUSE)
        return result


class SlowKafkaTransport(KafkaTransport):
    def open_sender(self, *, client_id: str) -> SlowSender:  # type: ignore[override]
        return SlowSender(super().open_sender(client_id=client_id))
