"""What a handler may know about its message."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from django_eventbus.delivery.context import MessageContext, build_context, make_context
from django_eventbus.events.envelope import Envelope

from .shop import OrderPlaced

FIELDS = (
    *("message_id", "event_name", "event_version", "source", "handler", "attempt", "published_at", "received_at"),
    *("correlation_id", "causation_id", "tenant_id", "traceparent", "headers", "topic", "partition", "offset", "key"),
    *("group", "is_replay"),
)


def test_the_fields_are_the_public_ones() -> None:
    assert [field.name for field in dataclasses.fields(MessageContext)] == list(FIELDS)


def test_every_field_comes_from_the_message() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    envelope = Envelope(
        message_id="m",
        event_name="e",
        event_version="2",
        source="/s",
        topic="t",
        key=b"k\xff",
        data=b"{}",
        published_at=now,
        received_at=now,
        correlation_id="co",
        causation_id="ca",
        tenant_id="te",
        traceparent="tr",
        headers=(("a", "1"),),
        partition=4,
        offset=5,
    )

    context = build_context(envelope, handler="h", attempt=3, group="g", is_replay=True)

    values = ("m", "e", "2", "/s", "h", 3, now, now, "co", "ca", "te", "tr", {"a": "1"}, "t", 4, 5, "k\\xff", "g", True)
    assert [getattr(context, name) for name in FIELDS] == list(values)


def test_a_context_cannot_be_changed() -> None:
    context = make_context()

    with pytest.raises(dataclasses.FrozenInstanceError):
        context.attempt = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        context.headers["a"] = "b"  # type: ignore[index]


def test_a_test_makes_the_context_it_needs() -> None:
    context = make_context(OrderPlaced(order_id=1), tenant_id="t", attempt=4)

    assert (context.event_name, context.event_version) == ("desk.orders.order-placed", "1")
    assert (context.tenant_id, context.attempt) == ("t", 4)
