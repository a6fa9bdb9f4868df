"""Which counters does an operator get?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.dispatch import Signal

from django_eventbus import signals
from django_eventbus.signals import Message

from .context import HAS_API

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

if HAS_API:
    from opentelemetry import metrics

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)  # advised by the conventions
_COUNTERS = ("published", "sent", "handled", "failed", "retried", "duplicates", "dead_lettered", "unhandled")
_COUNTER_OF_OUTCOME = {"handled": "handled", "duplicate": "duplicates", "ignored": "unhandled"}


def connect_metrics() -> None:
    """Count messages on the signals, if a meter provider is configured; called once the apps are ready.

    Without one nothing is connected, so that the signals of every event stay without listeners. Who configures the SDK
    later calls this again.
    """
    if HAS_API and not type(metrics.get_meter_provider()).__module__.startswith("opentelemetry.metrics"):
        MessageMeters(metrics.get_meter("django_eventbus")).connect()


class MessageMeters:
    """Count what the signals tell: one `add` for a batch, never one for each of its messages."""

    def __init__(self, meter: Meter) -> None:
        self._counters = {name: meter.create_counter(f"eventbus.messages.{name}", "{message}") for name in _COUNTERS}
        self._steps = meter.create_counter("eventbus.saga.steps", "{step}")
        self._duration = meter.create_histogram(
            "messaging.process.duration", "s", explicit_bucket_boundaries_advisory=_SECONDS
        )

    def connect(self) -> None:
        """Listen, unless an earlier instance does: two would count everything twice."""
        receivers: dict[Signal, Callable[..., None]] = {
            signals.event_published: self._published,
            signals.message_sent: self._sent,
            signals.message_handled: self._handled,
            signals.message_retried: self._retried,
            signals.message_dead_lettered: self._dead_lettered,
            signals.saga_stepped: self._stepped,
        }
        for signal, receiver in receivers.items():
            signal.connect(receiver, weak=False, dispatch_uid=__name__)

    def _published(self, *, envelope: Message, **details: Any) -> None:
        self._counters["published"].add(1, _labels(envelope))

    def _sent(self, *, bus: str, count: int, **details: Any) -> None:
        self._counters["sent"].add(count, {"eventbus.bus": bus})

    def _handled(
        self, *, envelopes: Sequence[Message], handler: str, outcome: str, duration: timedelta, **details: Any
    ) -> None:
        labels = _labels(envelopes[0], handler)
        self._counters[_COUNTER_OF_OUTCOME[outcome]].add(len(envelopes), labels)
        if outcome == "handled":
            self._duration.record(duration.total_seconds(), labels)

    def _retried(self, *, envelope: Message, handler: str, **details: Any) -> None:
        self._counters["failed"].add(1, _labels(envelope, handler))
        self._counters["retried"].add(1, _labels(envelope, handler))

    def _dead_lettered(self, *, envelope: Message | None, handler: str, **details: Any) -> None:
        self._counters["failed"].add(1, _labels(envelope, handler))
        self._counters["dead_lettered"].add(1, _labels(envelope, handler))

    def _stepped(self, *, saga: str, outcome: str, **details: Any) -> None:
        self._steps.add(1, {"eventbus.saga": saga, "eventbus.saga.outcome": outcome})


def _labels(message: Message | None, handler: str = "") -> dict[str, str]:
    labels = {"eventbus.handler": handler} if handler else {}
    if message is None:
        return labels
    return {**labels, "eventbus.event.name": message.event_name, "messaging.destination.name": message.topic}
