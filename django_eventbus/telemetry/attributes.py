"""What do spans and metrics say about a message, in the words of the messaging conventions 1.44?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from django_eventbus.conf import KAFKA_TRANSPORT, BusConfig
from django_eventbus.signals import Message


class TracedMessage(Message, Protocol):
    """Name what spans say about a message beyond what log lines say; every Envelope has it."""

    @property
    def event_version(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def traceparent(self) -> str | None: ...
    @property
    def tracestate(self) -> str | None: ...
    @property
    def baggage(self) -> str | None: ...


def system_of(config: BusConfig) -> str:
    """Name the messaging system of a bus as spans do: `kafka`, or the transport's dotted path."""
    return "kafka" if config.transport == KAFKA_TRANSPORT else config.transport


def only_topic(topics: Iterable[str]) -> str | None:
    """Return the topic of a batch; None where it has several, since no single name would be true."""
    names = set(topics)
    return names.pop() if len(names) == 1 else None


def span_name(operation: str, topic: str | None) -> str:
    return f"{operation} {topic}" if topic else operation


def operation_attributes(operation: str, *, topic: str | None, system: str) -> dict[str, Any]:
    attributes = {
        "messaging.system": system,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }
    return {**attributes, "messaging.destination.name": topic} if topic else attributes


def event_attributes(name: str, version: str, message_id: str, correlation_id: str | None) -> dict[str, Any]:
    attributes = {
        "messaging.message.id": message_id,
        "cloudevents.event_id": message_id,
        "cloudevents.event_type": name,
        "eventbus.event.name": name,
        "eventbus.event.version": version,
    }
    return {**attributes, "messaging.message.conversation_id": correlation_id} if correlation_id else attributes


def handler_attributes(*, handler: str, group: str, attempt: int) -> dict[str, Any]:
    return {
        "messaging.consumer.group.name": group,
        "eventbus.handler": handler,
        "eventbus.event.attempt": attempt,
    }


def place_attributes(message: TracedMessage, *, system: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {"cloudevents.event_source": message.source}
    if message.partition is not None:
        attributes["messaging.destination.partition.id"] = str(message.partition)
    if system == "kafka" and message.offset is not None:
        attributes["messaging.kafka.offset"] = message.offset
    if system == "kafka" and message.key is not None:
        attributes["messaging.kafka.message.key"] = message.key.decode("utf-8", "replace")
    return attributes


def type_name(error: BaseException) -> str:
    module = type(error).__module__
    return type(error).__qualname__ if module == "builtins" else f"{module}.{type(error).__qualname__}"
