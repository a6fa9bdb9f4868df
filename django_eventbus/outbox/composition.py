"""How does an event become the message that will be sent, and what is refused on the way?"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django_eventbus import telemetry
from django_eventbus.conf import BusConfig
from django_eventbus.events.cloudevents import to_headers, to_structured
from django_eventbus.events.contract import EventContract
from django_eventbus.events.envelope import Envelope, join_headers
from django_eventbus.events.identifiers import uuid7
from django_eventbus.events.keys import join_key, key_text, shard_of
from django_eventbus.events.naming import topic_of
from django_eventbus.events.registry import events
from django_eventbus.exceptions import EventInvalid, EventTooLarge, NotAnEvent, NotPublishable
from django_eventbus.models.outbox import NewMessage

from .context import PublishContext

UNTRACED = telemetry.TraceContext()


@dataclass(frozen=True, slots=True, kw_only=True)
class Composer:
    """Hold what all events of one publish call share."""

    config: BusConfig
    bus: int  # its number in the outbox
    context: PublishContext
    published_at: datetime
    key: object = None  # instead of the event's own
    headers: tuple[tuple[str, str], ...] = ()  # the user's own, checked

    def compose(self, event: object, *, event_id: UUID | None) -> tuple[NewMessage, Envelope]:
        """Validate and serialise one event; every refusal is raised here, before anything is written."""
        contract = publishable_contract(event)
        message_id = event_id or uuid7()
        text_id = str(message_id)
        correlation_id = self.context.correlation_id or text_id
        topic = topic_of(contract, self.config)
        data = contract.codec.encode(event)
        key = self._key(contract, event, text_id)
        with telemetry.publishing(
            topic,
            event_name=contract.name,
            event_version=contract.version,
            message_id=text_id,
            correlation_id=correlation_id,
            system=telemetry.system_of(self.config),
        ) as found:
            trace = found or UNTRACED
            envelope = Envelope(
                message_id=text_id,
                event_name=contract.name,
                event_version=contract.version,
                source=self.config.source,
                topic=topic,
                key=key or None,
                data=data,
                published_at=self.published_at,
                subject=None if contract.subject is None else contract.subject(event),
                correlation_id=correlation_id,
                causation_id=self.context.causation_id,
                tenant_id=self.context.tenant_id,
                traceparent=trace.traceparent,
                tracestate=trace.tracestate,
                baggage=trace.baggage,
                headers=self.headers,
            )
        return self._message(envelope, message_id), envelope

    def _message(self, envelope: Envelope, event_id: UUID) -> NewMessage:
        data = envelope.data or b""
        if self.config.content_mode == "structured":
            pairs, data = to_structured(envelope)
        else:
            pairs = to_headers(envelope)
        headers = join_headers(pairs)
        refuse_too_large(
            self.config, envelope, len(data) + len(headers.encode("utf-8", "replace")) + len(envelope.key or b"")
        )
        return NewMessage(
            event_id=event_id,
            bus=self.bus,
            # Without a key there is no order to keep: such events spread over all relays.
            shard=shard_of(envelope.key or event_id.bytes),
            topic=envelope.topic,
            key=envelope.key,
            headers=headers,
            payload=data,
            event_name=envelope.event_name,
        )

    def _key(self, contract: EventContract, event: object, text_id: str) -> bytes:
        try:
            text = contract.key(event, self.config) if self.key is None else self._given_key()
            return (text_id if text is None else text).encode()
        except (TypeError, ValueError) as exc:
            raise _invalid(contract.label, f"key: {exc}") from exc

    def _given_key(self) -> str:
        if isinstance(self.key, tuple):
            return join_key(self.key, escape=self.config.escape_keys)
        return key_text(self.key)


def publishable_contract(event: object) -> EventContract:
    """Return the contract of an event that this service may publish; warn if it is deprecated."""
    contract = events.contract_of(event)
    if type(event) is not contract.cls:
        raise NotAnEvent(f"{contract.cls.__qualname__} is the class of an event. Publish an instance of it.")
    if contract.is_external:
        raise NotPublishable(
            f"{contract.label} belongs to another service: @external_event declares it for handlers only. "
            "If this service owns it, declare it with @event."
        )
    if contract.deprecated is not None:
        # 5: composition, compose, the publisher, the bus, and then who called publish().
        message = f"{contract.label} is deprecated: {contract.deprecated}"
        warnings.warn(message, DeprecationWarning, stacklevel=5)
    return contract


def refuse_too_large(config: BusConfig, envelope: Envelope, size: int) -> None:
    """Raise EventTooLarge where payload, headers and key exceed the bus's limit."""
    limit = config.outbox.max_event_bytes
    if size > limit:
        raise EventTooLarge(
            f"{envelope.event_name} has {size} bytes, more than "
            f"EVENTBUS[{config.alias!r}]['OUTBOX']['MAX_EVENT_BYTES'] = {limit}. "
            "Store the large part elsewhere and publish a reference to it."
        )


def _invalid(label: str, error: str) -> EventInvalid:
    return EventInvalid(f"{label} is not valid: {error}", errors=(error,))
