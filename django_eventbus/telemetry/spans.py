"""Which spans does the way of an event have?

`create {topic}` at publish, whose context travels with the event; `send {topic}` once per relay batch;
`process {topic}` once per run of a handler. Links lead back to `create`: a batch has many creators, and a handler may
run days later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from .attributes import (
    TracedMessage,
    event_attributes,
    handler_attributes,
    only_topic,
    operation_attributes,
    place_attributes,
    span_name,
    type_name,
)
from .context import HAS_API, TraceContext, capture, is_tracing, origin_of, with_baggage

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanKind

if HAS_API:
    from opentelemetry import context as contexts
    from opentelemetry import trace

    _tracer = trace.get_tracer("django_eventbus", schema_url="https://opentelemetry.io/schemas/1.44.0")

MOST_LINKS = 128  # the SDK's own default limit


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
    if not is_tracing():
        yield capture()
        return
    attributes = {
        **operation_attributes("create", topic=topic, system=system),
        **event_attributes(event_name, event_version, message_id, correlation_id),
    }
    with _span(f"create {topic}", kind=trace.SpanKind.PRODUCER, attributes=attributes):
        yield capture()


@contextmanager
def sending(
    *, count: int, topics: Iterable[str], created: Iterable[TraceContext] = (), system: str = "kafka"
) -> Iterator[Operation]:
    """Span the sending of one batch; `topics` and `created` (one per row) are read only if someone records the span."""
    if not is_tracing():
        yield _UNTRACED
        return
    topic = only_topic(topics)
    attributes = {**operation_attributes("send", topic=topic, system=system), "messaging.batch.message_count": count}
    with _span(span_name("send", topic), kind=trace.SpanKind.CLIENT, attributes=attributes) as span:
        _link(span, created)
        yield Operation(span)


@contextmanager
def processing(
    message: TracedMessage,
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
    if not is_tracing():
        yield _UNTRACED
        return
    origin = origin_of(message)
    attributes = {
        **operation_attributes("process", topic=message.topic, system=system),
        **event_attributes(message.event_name, message.event_version, message.message_id, message.correlation_id),
        **handler_attributes(handler=handler, group=group, attempt=attempt),
        **place_attributes(message, system=system),
    }
    token = contexts.attach(with_baggage(origin if as_child else contexts.get_current(), message))
    try:
        with _span(f"process {message.topic}", kind=trace.SpanKind.CONSUMER, attributes=attributes) as span:
            if not as_child:
                _link(span, (_trace_of(message),))
            yield Operation(span)
    finally:
        contexts.detach(token)


@contextmanager
def processing_batch(
    messages: Sequence[TracedMessage], *, handler: str, group: str, attempt: int, system: str = "kafka"
) -> Iterator[Operation]:
    """Span one run of a batch handler, linked to the creation of every event in it."""
    if not is_tracing():
        yield _UNTRACED
        return
    topic = only_topic(message.topic for message in messages)
    attributes = {
        **operation_attributes("process", topic=topic, system=system),
        **handler_attributes(handler=handler, group=group, attempt=attempt),
        "messaging.batch.message_count": len(messages),
    }
    with _span(span_name("process", topic), kind=trace.SpanKind.CONSUMER, attributes=attributes) as span:
        _link(span, map(_trace_of, messages))
        yield Operation(span)


@contextmanager
def _span(name: str, *, kind: SpanKind, attributes: dict[str, Any]) -> Iterator[Span]:
    with _tracer.start_as_current_span(name, kind=kind, attributes=attributes) as span:
        try:
            yield span
        except BaseException as error:
            span.set_attribute("error.type", type_name(error))
            raise


def _link(span: Span, created: Iterable[TraceContext]) -> None:
    if not span.is_recording():
        return
    for origin in islice(created, MOST_LINKS):
        place = trace.get_current_span(origin_of(origin)).get_span_context()
        if place.is_valid:
            span.add_link(place)


def _trace_of(message: TracedMessage) -> TraceContext:
    return TraceContext(traceparent=message.traceparent, tracestate=message.tracestate)


_UNTRACED = Operation()
