"""Do counters say what happened to messages, per event, handler and topic?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.dispatch import Signal
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from django_eventbus import signals
from django_eventbus.events.envelope import Envelope
from django_eventbus.signals import emit
from django_eventbus.telemetry import connect_metrics, metrics

ENVELOPE = Envelope(message_id="1", event_name="a.b", source="s", topic="t", key=None, data=b"")
RUN: dict[str, Any] = {"handler": "x.y", "group": "g", "attempt": 1}
LABELS = {"eventbus.event.name": "a.b", "messaging.destination.name": "t"}


@pytest.fixture
def reader(meter_reader: InMemoryMetricReader) -> Any:
    """Count from here on; leave no listeners behind."""
    connect_metrics()
    yield meter_reader
    for signal in vars(signals).values():
        if isinstance(signal, Signal):
            signal.disconnect(dispatch_uid=metrics.__name__)


def points(reader: InMemoryMetricReader, name: str) -> list[Any]:
    data = reader.get_metrics_data()
    found = [
        metric
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
    ]
    return [point for metric in found for point in metric.data.data_points]


def total(reader: InMemoryMetricReader, name: str, **labels: str) -> int:
    return sum(point.value for point in points(reader, f"eventbus.messages.{name}") if dict(point.attributes) == labels)


def test_each_moment_is_counted_with_its_labels(reader: InMemoryMetricReader) -> None:
    handled = {**LABELS, "eventbus.handler": "x.y"}
    names = ("published", "handled", "duplicates", "unhandled", "failed", "retried", "dead_lettered")
    before = {name: total(reader, name, **(LABELS if name == "published" else handled)) for name in names}

    emit(signals.event_published, event=object(), envelope=ENVELOPE, bus="default", using="default")
    for outcome in ("handled", "duplicate", "ignored"):
        emit(
            signals.message_handled,
            envelopes=[ENVELOPE] * 3,
            outcome=outcome,
            duration=timedelta(milliseconds=20),
            **RUN,
        )
    emit(signals.message_retried, envelope=ENVELOPE, error=ValueError(), retry_at=None, **RUN)
    emit(signals.message_dead_lettered, envelope=ENVELOPE, error=ValueError(), dead_letter_id=1, **RUN)

    after = {name: total(reader, name, **(LABELS if name == "published" else handled)) for name in names}
    grown = {name: after[name] - before[name] for name in names}
    assert grown == {
        "published": 1,
        "handled": 3,
        "duplicates": 3,
        "unhandled": 3,
        "failed": 2,
        "retried": 1,
        "dead_lettered": 1,
    }


def test_a_batch_is_counted_at_once(reader: InMemoryMetricReader) -> None:
    labels = {"eventbus.bus": "default"}
    before = total(reader, "sent", **labels)

    emit(signals.message_sent, bus="default", using="default", count=1000, duration=timedelta(seconds=1))

    assert total(reader, "sent", **labels) - before == 1000


def test_an_undecodable_record_is_counted_without_labels(reader: InMemoryMetricReader) -> None:
    before = total(reader, "dead_lettered")

    emit(
        signals.message_dead_lettered,
        envelope=None,
        handler="",
        group="g",
        attempt=0,
        error="invalid_json",
        dead_letter_id=1,
    )

    assert total(reader, "dead_lettered") - before == 1


def test_durations_fall_into_the_advised_buckets(reader: InMemoryMetricReader) -> None:
    emit(signals.message_handled, envelopes=[ENVELOPE], outcome="handled", duration=timedelta(milliseconds=20), **RUN)

    point = points(reader, "messaging.process.duration")[0]
    assert point.explicit_bounds[:3] == (0.005, 0.01, 0.025)


def test_connecting_twice_counts_once(reader: InMemoryMetricReader) -> None:
    connect_metrics()
    before = total(reader, "published", **LABELS)

    emit(signals.event_published, event=object(), envelope=ENVELOPE, bus="default", using="default")

    assert total(reader, "published", **LABELS) - before == 1
