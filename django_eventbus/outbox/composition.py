"""How does an event become the message that will be sent, and what is refused on the way?"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID

from django_eventbus import telemetry
from django_eventbus.conf import LOCAL_TRANSPORT, BusConfig
from django_eventbus.events.cloudevents import check_headers, rfc3339, to_headers, to_structured
from django_eventbus.events.contract import EventContract
from django_eventbus.events.envelope import Envelope, join_headers
from django_eventbus.events.identifiers import uuid7
from django_eventbus.events.keys import join_key, key_text, shard_of
from django_eventbus.events.naming import local_topic_of, topic_of
from django_eventbus.events.registry import events
from django_eventbus.exceptions import EventInvalid, EventTooLarge, NotAnEvent, NotPublishable
from django_eventbus.models.outbox import NewMessage
from django_eventbus.signals import event_published
from django_eventbus.telemetry.context import is_tracing

from .context import EMPTY, current_context

UNTRACED = telemetry.TraceContext()
NO_ID = str(UUID(int=0))
NO_TIME = datetime.min.replace(tzinfo=UTC)
NO_TIME_TEXT = rfc3339(NO_TIME)
LONGEST_KEY = 2000  # bytes: a key that has to wait is found by an index, whose entries hold 2704 bytes with the topic


class Composer:
    """Make the messages of one publish call; every refusal is raised here, before anything is written."""

    __slots__ = ("_bus", "_config", "_context", "_headers", "_key", "_parts", "_published_at", "_shards")

    def __init__(self, config: BusConfig, *, bus: int, key: object, headers: Mapping[str, str] | None) -> None:
        self._config = config
        self._bus = bus
        self._key = key
        self._context = context = current_context()
        own = {**context.headers, **headers} if headers else context.headers
        self._headers = check_headers(own) if own else ()
        self._published_at = datetime.now(UTC)
        self._parts: dict[EventContract, list[str]] = {}
        self._shards: dict[bytes, int] = {}  # the events of one call mostly tell of one thing

    def compose(self, event: object, *, event_id: UUID | None) -> tuple[NewMessage, Envelope | None]:
        """Validate and serialise one event; the envelope is made only where someone listens to `event_published`."""
        contract = publishable_contract(event)
        identity = event_id or uuid7()
        text_id = str(identity)
        topic = self._topic_of(contract)
        data = contract.codec.encode(event)
        key = self._key_of(contract, event, text_id)
        envelope = None
        parts = self._parts.get(contract) or self._plain_parts(contract, topic, text_id)
        if parts:
            headers = text_id.join(parts)
        else:
            envelope = self._traced(contract, event, topic, text_id, key=key, data=data)
            headers, data = self._written(envelope)
        self._refuse_too_large(contract, len(data) + len(headers.encode()) + len(key))
        shard = self._shards.get(key)
        if shard is None:
            # Without a key there is no order to keep: such events spread over all relays.
            shard = self._shards[key] = shard_of(key or identity.bytes)
        message = NewMessage(
            event_id=identity,
            bus=self._bus,
            shard=shard,
            topic=topic,
            key=key or None,
            headers=headers,
            payload=data,
            event_name=contract.name,
        )
        return message, envelope

    def check(self, event: object) -> None:
        """Refuse what `compose` would refuse, and leave no trace of it."""
        contract = publishable_contract(event)
        data = contract.codec.encode(event)
        key = self._key_of(contract, event, NO_ID)
        envelope = self._envelope(contract, self._topic_of(contract), NO_ID, trace=UNTRACED, key=key or None, data=data)
        headers, data = self._written(envelope)
        self._refuse_too_large(contract, len(data) + len(headers.encode()) + len(key))

    def _topic_of(self, contract: EventContract) -> str:
        if contract.dispatch is None:
            return topic_of(contract, self._config)
        if self._config.transport != LOCAL_TRANSPORT:
            raise NotPublishable(
                f"{contract.label} is a domain event: it stays inside the service, and bus {self._config.alias!r} "
                "leads out of it. Publish it through django_eventbus.publish, or tell others with @translates."
            )
        return local_topic_of(contract)

    def _plain_parts(self, contract: EventContract, topic: str, text_id: str) -> list[str]:
        """Return what stands between the ids in the headers of all events of this class; empty where more differs."""
        if contract.subject is not None or self._config.content_mode != "binary":
            return []
        if is_tracing() or event_published.has_listeners(contract.cls):
            return []
        trace = telemetry.capture()
        text = ""
        if trace is None and self._context is EMPTY and not self._headers:
            text = _bare_headers(contract.name, contract.version, self._config.source)
        if text:
            parts = text.replace(NO_TIME_TEXT, rfc3339(self._published_at)).split(NO_ID)
        else:
            envelope = self._envelope(contract, topic, text_id, trace=trace or UNTRACED)
            parts = join_headers(to_headers(envelope)).split(text_id)
        self._parts[contract] = parts
        return parts

    def _traced(
        self, contract: EventContract, event: object, topic: str, text_id: str, *, key: bytes, data: bytes
    ) -> Envelope:
        with telemetry.publishing(
            topic,
            event_name=contract.name,
            event_version=contract.version,
            message_id=text_id,
            correlation_id=self._context.correlation_id or text_id,
            system=telemetry.system_of(self._config),
        ) as trace:
            subject = None if contract.subject is None else contract.subject(event)
            return self._envelope(
                contract, topic, text_id, trace=trace or UNTRACED, subject=subject, key=key or None, data=data
            )

    def _envelope(
        self,
        contract: EventContract,
        topic: str,
        text_id: str,
        *,
        trace: telemetry.TraceContext,
        subject: str | None = None,
        key: bytes | None = None,
        data: bytes | None = None,
    ) -> Envelope:
        return Envelope(
            message_id=text_id,
            event_name=contract.name,
            event_version=contract.version,
            source=self._config.source,
            topic=topic,
            key=key,
            data=data,
            published_at=self._published_at,
            subject=subject,
            correlation_id=self._context.correlation_id or text_id,
            causation_id=self._context.causation_id,
            tenant_id=self._context.tenant_id,
            traceparent=trace.traceparent,
            tracestate=trace.tracestate,
            baggage=trace.baggage,
            headers=self._headers,
        )

    def _written(self, envelope: Envelope) -> tuple[str, bytes]:
        if self._config.content_mode == "structured":
            pairs, data = to_structured(envelope)
            return join_headers(pairs), data
        return join_headers(to_headers(envelope)), envelope.data or b""

    def _key_of(self, contract: EventContract, event: object, text_id: str) -> bytes:
        given = self._key
        try:
            if given is None:
                text = contract.key(event, self._config)
            else:
                parts = given if isinstance(given, tuple) else None
                text = key_text(given) if parts is None else join_key(parts, escape=self._config.escape_keys)
            key = (text_id if text is None else text).encode()
        except (TypeError, ValueError) as exc:
            error = f"key: {exc}"
            raise EventInvalid(f"{contract.label} is not valid: {error}", errors=(error,)) from exc
        if len(key) > LONGEST_KEY:
            raise EventTooLarge(
                f"The key of {contract.label} has {len(key)} bytes, more than {LONGEST_KEY}: no index could find it "
                "while it waits. Use a digest of it as the key."
            )
        return key

    def _refuse_too_large(self, contract: EventContract, size: int) -> None:
        limit = self._config.outbox.max_event_bytes
        if size > limit:
            raise EventTooLarge(
                f"{contract.label} has {size} bytes with its headers and key, more than "
                f"EVENTBUS[{self._config.alias!r}]['OUTBOX']['MAX_EVENT_BYTES'] = {limit}. "
                "Store the large part elsewhere and publish a reference to it."
            )


@lru_cache(1000)
def _bare_headers(event_name: str, event_version: str, source: str) -> str:
    """Return the headers of an event that nothing led to: they differ in id and time only, from publish to publish.

    Empty where a source is written like these, so that nobody could tell which of them to replace.
    """
    envelope = Envelope(
        message_id=NO_ID,
        event_name=event_name,
        event_version=event_version,
        source=source,
        topic="",
        key=None,
        data=None,
        published_at=NO_TIME,
        correlation_id=NO_ID,
    )
    text = join_headers(to_headers(envelope))
    return text if NO_ID not in source and NO_TIME_TEXT not in source else ""


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
        # 6: this function, compose, the publisher, the dispatch, the bus, and then who called publish().
        message = f"{contract.label} is deprecated: {contract.deprecated}"
        warnings.warn(message, DeprecationWarning, stacklevel=6)
    return contract
