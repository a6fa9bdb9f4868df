"""How does a trace lead from `publish()` through relay and broker into a handler? (Without OpenTelemetry: not at all.)

Spans follow the messaging conventions 1.44: `create {topic}` at publish, whose context travels with the event;
`send {topic}` once per relay batch; `process {topic}` once per run of a handler. Links lead back to `create`: a batch
has many creators, and a handler may run days later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from .conf import KAFKA_TRANSPORT, BusConfig

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanKind

try:
    from opentelemetry import context as contexts
    from opentelemetry import trace
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:
    HAS_API = False
else:
    HAS_API = True
    # The wire format is W3C whatever OTEL_PROPAGATORS says: other services read it.
    _trace_format = TraceContextTextMapPropagator()
    _baggage_format = W3CBaggagePropagator()
    _tracer = trace.get_tracer("django_eventbus", schema_url="https://opentelemetry.io/schemas/1.44.0")

try:
    from opentelemetry.instrumentation.utils import suppress_instrumentation
except ImportError:  # then nothing is instrumented, and there is nothing to suppress
    suppress_instrumentation = nullcontext  # type: ignore[assignment, unused-ignore]

MOST_LINKS = 128  # the SDK's own default limit


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """Carry the W3C context of the moment of publishing, as the outbox row stores it."""

    traceparent: str | None = None
    tracestate: str | None = None
    baggage: str | None = None

    @classmethod
    def from_headers(cls, pairs: Iterable[tuple[str, str]]) -> TraceContext:
        """Pick the context out of a message's headers."""
        found = dict(pairs)
        return cls(**{name: found.get(name) for name in cls.__slots__})


class Message(Protocol):
    """Name what spans say about a message that is handled; every Envelope has it."""

    @property
    def message_id(self) -> str: ...
    @property
    def event_name(self) -> str: ...
    @property
    def event_version(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def topic(self) -> str: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def partition(self) -> int | None: ...
    @property
    def offset(self) -> int | None: ...
    @property
    def correlation_id(self) -> str | None: ...
    @property
    def traceparent(self) -> str | None: ...
    @property
    def tracestate(self) -> str | None: ...
    @property
    def baggage(self) -> str | None: ...


class Operation:
    """Let the holder of a span say what went wrong where nothing was raised."""

    __slots__ = ("_span",)

    def __init__(self, span: Span | None = None) -> None:
        self._span = span

    def fail(self, error_type: str, description: str = "") -> None:
        """Mark the span as failed; `error_type` is of low cardinality, such as the broker's name for the error."""
        if self._span is not None:
            self._span.set_attribute("error.type", error_type)
            self._span.set_status(trace.StatusCode.ERROR, description or error_type)


def system_of(config: BusConfig) -> str:
    """Name the messaging system of a bus as spans do: `kafka`, or the transport's dotted path."""
    return "kafka" if config.transport == KAFKA_TRANSPORT else config.transport


def capture() -> TraceContext | None:
    """Return the current trace context and baggage, to be stored with an event; None where there is neither."""
    if not HAS_API or not (current := contexts.get_current()):
        return None
    carrier: dict[str, str] = {}
    _trace_format.inject(carrier, current)
    _baggage_format.inject(carrier, current)
    return TraceContext(**carrier) if carrier else None


@contextmanager
def publishing(
    topic: str,
    *,
    event_name: str,
    event_version: str = "",
    message_id: str,
    correlation_id: str | None = None,
    system: str = "kafka",
) -> Iterator[TraceContext | None]:
    """Span the making of one event; yields the context that travels with it."""
    if not _is_tracing():
        yield capture()
        return
    attributes = {
        **_attributes("create", topic=topic, system=system),
        **_event_attributes(event_name, event_version, message_id, correlation_id),
    }
    with _span(f"create {topic}", kind=trace.SpanKind.PRODUCER, attributes=attributes):
        yield capture()


@contextmanager
def sending(
    *, count: int, topics: Iterable[str], created: Iterable[TraceContext] = (), system: str = "kafka"
) -> Iterator[Operation]:
    """Span the sending of one batch; `topics` and `created` (one per row) are read only if someone records the span."""
    if not _is_tracing():
        yield _UNTRACED
        return
    topic = _only(topics)
    attributes = {**_attributes("send", topic=topic, system=system), "messaging.batch.message_count": count}
    with _span(_name("send", topic), kind=trace.SpanKind.CLIENT, attributes=attributes) as span:
        _link(span, created)
        yield Operation(span)


@contextmanager
def processing(
    message: Message,
    *,
    handler: str,
    group: str,
    attempt: int,
    as_child: bool = False,
    system: str = "kafka",
) -> Iterator[Operation]:
    """Span one run of a handler, linked to the event's creation (`as_child`: with it as the parent).

    The event's baggage is current inside, so that events published by the handler carry it on.
    """
    if not _is_tracing():
        yield _UNTRACED
        return
    origin = _extracted(message)
    attributes = {
        **_attributes("process", topic=message.topic, system=system),
        **_event_attributes(message.event_name, message.event_version, message.message_id, message.correlation_id),
        **_handler_attributes(handler=handler, group=group, attempt=attempt),
        **_place_attributes(message, system=system),
    }
    base = origin if as_child else contexts.get_current()
    base = _baggage_format.extract({"baggage": message.baggage}, base) if message.baggage else base
    token = contexts.attach(base)
    try:
        with _span(f"process {message.topic}", kind=trace.SpanKind.CONSUMER, attributes=attributes) as span:
            if not as_child:
                _link(span, (_trace_of(message),))
            yield Operation(span)
    finally:
        contexts.detach(token)


@contextmanager
def processing_batch(
    messages: Sequence[Message], *, handler: str, group: str, attempt: int, system: str = "kafka"
) -> Iterator[Operation]:
    """Span one run of a batch handler, linked to the creation of every event in it."""
    if not _is_tracing():
        yield _UNTRACED
        return
    topic = _only(message.topic for message in messages)
    attributes = {
        **_attributes("process", topic=topic, system=system),
        **_handler_attributes(handler=handler, group=group, attempt=attempt),
        "messaging.batch.message_count": len(messages),
    }
    with _span(_name("process", topic), kind=trace.SpanKind.CONSUMER, attributes=attributes) as span:
        _link(span, map(_trace_of, messages))
        yield Operation(span)


def suppressed() -> AbstractContextManager[None]:
    """Keep instrumented clients silent inside: idle polling would fill every trace store with empty queries."""
    return suppress_instrumentation()


def _is_tracing() -> bool:
    """Say whether an SDK is there: with the API alone a span costs 5 us and tells nobody."""
    return HAS_API and not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


@contextmanager
def _span(name: str, *, kind: SpanKind, attributes: dict[str, Any]) -> Iterator[Span]:
    with _tracer.start_as_current_span(name, kind=kind, attributes=attributes) as span:
        try:
            yield span
        except BaseException as error:
            span.set_attribute("error.type", _type_name(error))
            raise


def _link(span: Span, created: Iterable[TraceContext]) -> None:
    if not span.is_recording():
        return
    for origin in islice(created, MOST_LINKS):
        place = trace.get_current_span(_extracted(origin)).get_span_context()
        if place.is_valid:
            span.add_link(place)


def _extracted(origin: TraceContext | Message) -> Context:
    carrier = {"traceparent": origin.traceparent, "tracestate": origin.tracestate}
    return _trace_format.extract({name: text for name, text in carrier.items() if text}, contexts.Context())


def _trace_of(message: Message) -> TraceContext:
    return TraceContext(traceparent=message.traceparent, tracestate=message.tracestate)


def _only(topics: Iterable[str]) -> str | None:
    """Return the topic of a batch; None where it has several, since no single name would be true."""
    names = set(topics)
    return names.pop() if len(names) == 1 else None


def _name(operation: str, topic: str | None) -> str:
    return f"{operation} {topic}" if topic else operation


def _attributes(operation: str, *, topic: str | None, system: str) -> dict[str, Any]:
    attributes = {
        "messaging.system": system,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }
    return {**attributes, "messaging.destination.name": topic} if topic else attributes


def _event_attributes(name: str, version: str, message_id: str, correlation_id: str | None) -> dict[str, Any]:
    attributes = {
        "messaging.message.id": message_id,
        "cloudevents.event_id": message_id,
        "cloudevents.event_type": name,
        "eventbus.event.name": name,
        "eventbus.event.version": version,
    }
    return {**attributes, "messaging.message.conversation_id": correlation_id} if correlation_id else attributes


def _handler_attributes(*, handler: str, group: str, attempt: int) -> dict[str, Any]:
    return {
        "messaging.consumer.group.name": group,
        "eventbus.handler": handler,
        "eventbus.event.attempt": attempt,
    }


def _place_attributes(message: Message, *, system: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {"cloudevents.event_source": message.source}
    if message.partition is not None:
        attributes["messaging.destination.partition.id"] = str(message.partition)
    if system == "kafka" and message.offset is not None:
        attributes["messaging.kafka.offset"] = message.offset
    if system == "kafka" and message.key is not None:
        attributes["messaging.kafka.message.key"] = message.key.decode("utf-8", "replace")
    return attributes


def _type_name(error: BaseException) -> str:
    module = type(error).__module__
    return type(error).__qualname__ if module == "builtins" else f"{module}.{type(error).__qualname__}"


_UNTRACED = Operation()
