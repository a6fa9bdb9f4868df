"""What may a handler know about the message that it handles?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from django_eventbus.events.envelope import Envelope
from django_eventbus.events.identifiers import uuid7
from django_eventbus.events.registry import events


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageContext:
    """Accompany an event into its handler."""

    message_id: str  # the event id; the same in every delivery, retry and replay
    event_name: str
    event_version: str = ""  # as sent, before upcasting
    source: str  # who published it; unique together with message_id
    handler: str  # stored name
    attempt: int = 1  # 1-based; starts again with a replay
    published_at: datetime | None = None
    received_at: datetime | None = None  # when a worker took it; None where nothing was received, as inline
    correlation_id: str | None = None  # the conversation: kept from message to message
    causation_id: str | None = None  # id of the message that led to this one
    tenant_id: str | None = None  # as the sender says; see running.publish_context for what is inherited
    traceparent: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # the sender's own
    topic: str
    partition: int | None = None
    offset: int | None = None
    key: str | None = None  # bytes that are not UTF-8 appear as backslash escapes
    group: str
    is_replay: bool = False  # an operator replayed the dead letter of this message


def build_context(envelope: Envelope, *, handler: str, attempt: int, group: str, is_replay: bool) -> MessageContext:
    """Show a handler its message."""
    return MessageContext(
        message_id=envelope.message_id,
        event_name=envelope.event_name,
        event_version=envelope.event_version,
        source=envelope.source,
        handler=handler,
        attempt=attempt,
        published_at=envelope.published_at,
        received_at=envelope.received_at,
        correlation_id=envelope.correlation_id,
        causation_id=envelope.causation_id,
        tenant_id=envelope.tenant_id,
        traceparent=envelope.traceparent,
        headers=MappingProxyType(dict(envelope.headers)),
        topic=envelope.topic,
        partition=envelope.partition,
        offset=envelope.offset,
        key=None if envelope.key is None else envelope.key.decode("utf-8", "backslashreplace"),
        group=group,
        is_replay=is_replay,
    )


def make_context(event: object | None = None, **values: Any) -> MessageContext:
    """Make a context for a test that calls a handler as the plain function it is; `values` override any field."""
    contract = None if event is None else events.contract_of(event)
    now = datetime.now(UTC)
    message_id = str(uuid7())
    made = MessageContext(
        message_id=message_id,
        event_name=contract.name if contract else "tests.event",
        event_version=contract.version if contract else "1",
        source="/tests",
        handler="tests.handler",
        published_at=now,
        received_at=now,
        correlation_id=message_id,
        topic="tests",
        partition=0,
        offset=0,
        key=message_id,
        group="tests",
    )
    return replace(made, **values)
