"""What does every publish inherit from the place where it is called?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishContext:
    """Carry what travels from a handled message, a request or a job into the events that it publishes."""

    correlation_id: str | None = None  # None: each event starts a conversation of its own
    causation_id: str | None = None  # id of the message that is being handled
    tenant_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


EMPTY = PublishContext()
_current: ContextVar[PublishContext] = ContextVar("eventbus_publish_context", default=EMPTY)


def current_context() -> PublishContext:
    """Return what a publish would inherit here."""
    return _current.get()


@contextmanager
def message_context(
    *,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    tenant_id: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[PublishContext]:
    """Set what every publish inside inherits; what is left out stays as it is outside, headers are merged."""
    outer = _current.get()
    inner = PublishContext(
        correlation_id=outer.correlation_id if correlation_id is None else correlation_id,
        causation_id=outer.causation_id if causation_id is None else causation_id,
        tenant_id=outer.tenant_id if tenant_id is None else tenant_id,
        headers={**outer.headers, **(headers or {})},
    )
    with exactly(inner):
        yield inner


@contextmanager
def exactly(context: PublishContext) -> Iterator[None]:
    """Set the whole context, inheriting nothing: a handler's publishes belong to its message, not to its worker."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
