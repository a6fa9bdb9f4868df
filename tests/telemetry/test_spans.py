"""Does one trace lead from a request through outbox, relay and broker into the handler?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from msgspec.structs import replace
from opentelemetry import baggage, context, trace
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from django_eventbus.conf import load
from django_eventbus.events.envelope import Envelope, join_headers, split_headers
from django_eventbus.telemetry import (
    TraceContext,
    capture,
    processing,
    processing_batch,
    publishing,
    sending,
    suppressed,
    system_of,
)

TOPIC = "dev.shop.public.orders.v1"
NAME = "shop.orders.order-placed"


def publish_one(message_id: str = "0198") -> Envelope:
    with publishing(TOPIC, event_name=NAME, event_version="1", message_id=message_id, correlation_id="c-1") as carried:
        assert carried is not None
    return Envelope(
        message_id=message_id,
        event_name=NAME,
        event_version="1",
        source="/shop/orders",
        topic=TOPIC,
        key=b"42",
        data=b"{}",
        correlation_id="c-1",
        traceparent=carried.traceparent,
        tracestate=carried.tracestate,
        baggage=carried.baggage,
        partition=3,
        offset=17,
    )


def handle(envelope: Envelope, **options: Any) -> Any:
    return processing(envelope, handler="billing.issue_invoice", group="billing", attempt=2, **options)


def only(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    (span,) = [span for span in spans.get_finished_spans() if span.name == name]
    return span


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def identity(span: ReadableSpan) -> tuple[int, int]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def linked(span: ReadableSpan) -> list[tuple[int, int]]:
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def test_publishing_makes_a_create_span_whose_context_travels(spans: InMemorySpanExporter) -> None:
    envelope = publish_one()

    span = only(spans, f"create {TOPIC}")
    trace_id, span_id = identity(span)
    assert span.kind is SpanKind.PRODUCER
    assert (envelope.traceparent or "").startswith(f"00-{trace_id:032x}-{span_id:016x}-")
    assert attributes(span) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "create",
        "messaging.operation.type": "create",
        "messaging.destination.name": TOPIC,
        "messaging.message.id": "0198",
        "messaging.message.conversation_id": "c-1",
        "cloudevents.event_id": "0198",
        "cloudevents.event_type": NAME,
        "eventbus.event.name": NAME,
        "eventbus.event.version": "1",
    }


def test_sending_makes_one_span_linked_to_every_creation(spans: InMemorySpanExporter) -> None:
    rows = [publish_one(str(number)) for number in range(3)]
    texts = [join_headers([("ce_id", row.message_id), ("traceparent", str(row.traceparent))]) for row in rows]

    created = (TraceContext.from_headers(split_headers(text)) for text in texts)
    with sending(count=3, topics=(row.topic for row in rows), created=created):
        pass

    span = only(spans, f"send {TOPIC}")
    assert span.kind is SpanKind.CLIENT
    assert attributes(span)["messaging.batch.message_count"] == 3
    assert attributes(span)["messaging.operation.type"] == "send"
    creations = [identity(span) for span in spans.get_finished_spans() if span.name.startswith("create")]
    assert linked(span) == creations


def test_a_batch_of_several_topics_names_none(spans: InMemorySpanExporter) -> None:
    with sending(count=2, topics=["orders", "customers"]):
        pass

    assert "messaging.destination.name" not in attributes(only(spans, "send"))


def test_a_batch_links_to_no_more_creations_than_a_span_can_hold(spans: InMemorySpanExporter) -> None:
    read: list[int] = []

    def created() -> Iterator[TraceContext]:
        for number in range(1, 1001):
            read.append(number)
            yield TraceContext(traceparent=f"00-{number:032x}-{number:016x}-01")

    with sending(count=1000, topics=[TOPIC], created=created()):
        pass

    assert len(only(spans, f"send {TOPIC}").links) == 128
    assert len(read) == 128


def test_headers_are_not_read_for_a_span_that_nobody_records(spans: InMemorySpanExporter) -> None:
    created = iter([TraceContext(), TraceContext()])

    unsampled = trace.NonRecordingSpan(trace.SpanContext(1, 1, is_remote=False))  # its children are not sampled
    with trace.use_span(unsampled), sending(count=1, topics=[TOPIC], created=created):
        pass

    assert spans.get_finished_spans() == ()
    assert len(list(created)) == 2


def test_a_send_that_failed_says_how(spans: InMemorySpanExporter) -> None:
    with sending(count=1, topics=[TOPIC]) as operation:
        operation.fail("NOT_ENOUGH_REPLICAS", "1 of 1 rows")

    span = only(spans, f"send {TOPIC}")
    assert attributes(span)["error.type"] == "NOT_ENOUGH_REPLICAS"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "1 of 1 rows")


def test_a_handler_runs_in_a_process_span_linked_to_the_creation(spans: InMemorySpanExporter) -> None:
    envelope = publish_one()

    with handle(envelope):
        pass

    creation, span = only(spans, f"create {TOPIC}"), only(spans, f"process {TOPIC}")
    assert span.kind is SpanKind.CONSUMER
    assert span.parent is None
    assert linked(span) == [identity(creation)]
    assert attributes(span) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": TOPIC,
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 17,
        "messaging.kafka.message.key": "42",
        "messaging.consumer.group.name": "billing",
        "messaging.message.id": "0198",
        "messaging.message.conversation_id": "c-1",
        "cloudevents.event_id": "0198",
        "cloudevents.event_source": "/shop/orders",
        "cloudevents.event_type": NAME,
        "eventbus.event.name": NAME,
        "eventbus.event.version": "1",
        "eventbus.event.attempt": 2,
        "eventbus.handler": "billing.issue_invoice",
    }


def test_a_handler_may_be_a_child_of_the_creation(spans: InMemorySpanExporter) -> None:
    envelope = publish_one()

    with handle(envelope, as_child=True):
        pass

    creation, span = only(spans, f"create {TOPIC}"), only(spans, f"process {TOPIC}")
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id) == identity(creation)
    assert span.links == ()


def test_an_event_without_a_trace_is_handled_without_a_link(spans: InMemorySpanExporter) -> None:
    for broken in (None, "", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"):
        with handle(replace(publish_one(), traceparent=broken)):
            pass

    handled = [span for span in spans.get_finished_spans() if span.name.startswith("process")]
    assert [span.links for span in handled] == [()] * 4


def test_a_failed_handler_says_how_and_the_error_goes_on(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="no such customer"), handle(publish_one()):
        raise ValueError("no such customer")

    span = only(spans, f"process {TOPIC}")
    assert attributes(span)["error.type"] == "ValueError"
    assert span.status.status_code is StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]


def test_a_batch_of_events_is_one_span_with_links(spans: InMemorySpanExporter) -> None:
    envelopes = [publish_one(str(number)) for number in range(3)]

    with processing_batch(envelopes, handler="billing.bulk", group="billing", attempt=1):
        pass

    span = only(spans, f"process {TOPIC}")
    creations = [identity(span) for span in spans.get_finished_spans() if span.name.startswith("create")]
    assert linked(span) == creations
    assert attributes(span)["messaging.batch.message_count"] == 3


def test_an_event_published_by_a_handler_continues_its_trace_and_baggage(spans: InMemorySpanExporter) -> None:
    token = context.attach(baggage.set_baggage("tenant", "t 1"))
    first = publish_one("1")
    context.detach(token)

    with handle(first):
        second = publish_one("2")

    process = only(spans, f"process {TOPIC}")
    child = next(span for span in spans.get_finished_spans() if attributes(span).get("messaging.message.id") == "2")
    assert child.parent is not None
    assert process.context is not None
    assert child.parent.span_id == process.context.span_id
    assert second.baggage == first.baggage == "tenant=t+1"
    assert capture() is None


def test_the_context_of_another_tracer_is_captured_whole() -> None:
    state = trace.TraceState([("vendor", "x")])
    span = trace.NonRecordingSpan(
        trace.SpanContext(10, 11, is_remote=True, trace_flags=trace.TraceFlags(1), trace_state=state)
    )

    with trace.use_span(span):
        captured = capture()

    assert captured == TraceContext(traceparent=f"00-{10:032x}-{11:016x}-01", tracestate="vendor=x")


def test_nothing_is_captured_where_nothing_is_traced() -> None:
    assert capture() is None


def test_clients_are_silent_while_a_relay_polls() -> None:
    with suppressed():
        inside = is_instrumentation_enabled()

    assert not inside
    assert is_instrumentation_enabled()


def test_the_system_is_named_after_the_transport() -> None:
    kafka = {"TRANSPORT": "kafka", "OPTIONS": {"bootstrap.servers": "kafka:9092"}}

    assert system_of(load({"default": kafka})["default"]) == "kafka"
    assert system_of(load(None)["default"]) == "django_eventbus.transports.local.LocalTransport"


def order_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(publish_one().traceparent or "")


urlpatterns = [path("order/", order_view)]


@pytest.fixture
def _instrumented_django(settings: Any, spans: InMemorySpanExporter) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []
    DjangoInstrumentor().instrument()
    yield
    DjangoInstrumentor().uninstrument()


@pytest.mark.usefixtures("_instrumented_django")
def test_the_request_that_publishes_is_the_parent_of_the_creation(spans: InMemorySpanExporter) -> None:
    caller = "00-0000000000000000000000000000000a-000000000000000b-01"

    response = Client().get("/order/", headers={"traceparent": caller})

    server = next(span for span in spans.get_finished_spans() if span.kind is SpanKind.SERVER)
    creation = only(spans, f"create {TOPIC}")
    assert creation.parent is not None
    assert (creation.parent.trace_id, creation.parent.span_id) == identity(server)
    assert identity(server)[0] == 0xA
    assert f"{identity(creation)[1]:016x}" in response.content.decode()
