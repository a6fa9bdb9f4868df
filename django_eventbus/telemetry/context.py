"""How does the trace context of `publish()` reach the handler? (Without OpenTelemetry: not at all.)"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .attributes import TracedMessage

if TYPE_CHECKING:
    from opentelemetry.context import Context

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

try:
    from opentelemetry.instrumentation.utils import suppress_instrumentation
except ImportError:  # then nothing is instrumented, and there is nothing to suppress
    suppress_instrumentation = nullcontext  # type: ignore[assignment, unused-ignore]


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


def capture() -> TraceContext | None:
    """Return the current trace context and baggage, to be stored with an event; None where there is neither."""
    if not HAS_API or not (current := contexts.get_current()):
        return None
    carrier: dict[str, str] = {}
    _trace_format.inject(carrier, current)
    _baggage_format.inject(carrier, current)
    return TraceContext(**carrier) if carrier else None


def is_tracing() -> bool:
    """Say whether an SDK is there: with the API alone a span costs 5 us and tells nobody."""
    return HAS_API and not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def suppressed() -> AbstractContextManager[None]:
    """Keep instrumented clients silent inside: idle polling would fill every trace store with empty queries."""
    return suppress_instrumentation()


def origin_of(origin: TraceContext | TracedMessage) -> Context:
    """Read the trace context, without baggage, that a message brought; empty where it brought none."""
    carrier = {"traceparent": origin.traceparent, "tracestate": origin.tracestate}
    return _trace_format.extract({name: text for name, text in carrier.items() if text}, contexts.Context())


def with_baggage(base: Context, message: TracedMessage) -> Context:
    """Return the context with the message's baggage in it, so that events published inside carry it on."""
    return _baggage_format.extract({"baggage": message.baggage}, base) if message.baggage else base
