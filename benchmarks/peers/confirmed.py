"""How does django-outbox-pattern, which speaks STOMP only, come to Kafka? Through its own setting, by this class."""

from __future__ import annotations

import os
from typing import Any

from confluent_kafka.cimpl import Producer
from stomp.exception import StompException

from benchmarks import settings

KEY = "key"  # the peer knows no keys: one of a row's headers carries it


class ConfirmedKafka:
    """Have the methods of a STOMP connection that a producer calls; return from `send` when the broker has the record.

    With STOMP it would not wait: a send without a receipt may be lost, although its row says that it was sent.
    """

    def __init__(self, **_stomp: Any) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": os.environ[settings.KAFKA],
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "linger.ms": 0,
            }
        )
        self._is_connected = False

    def connect(self, **_credentials: Any) -> None:
        self._is_connected = True

    def disconnect(self) -> None:
        """Keep the producer: the peer asks for this after every pass."""
        self._is_connected = False

    def is_connected(self) -> bool:
        return self._is_connected

    def send(self, *, destination: str, body: str, headers: dict[str, str]) -> None:
        errors: list[Any] = []

        def delivered(error: Any, _message: Any) -> None:
            if error is not None:
                errors.append(error)

        own: dict[str, str | bytes | None] = {name: value for name, value in headers.items() if name != KEY}
        self._producer.produce(destination, body, headers.get(KEY), on_delivery=delivered, headers=own)
        if self._producer.flush(10) or errors:
            raise StompException(f"the broker did not take a record of {destination}: {errors}")
