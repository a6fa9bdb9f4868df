"""What is one message, on its whole way from `publish()` to the handler?"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

OutgoingRow = tuple[int, str, bytes | None, str, bytes | None]  # id, topic, key, headers text, payload: as SQL gives it
SEPARATOR = "\x1f"  # between names and values in the outbox's headers column; refused inside them at publish

SAGA_HEADER = "eventbus-saga"  # name and key of the saga that published a message, with a space between


# A Struct: one is made for every message, which as a frozen dataclass would take ten times as long.
class Envelope(Struct, frozen=True, kw_only=True, gc=False):
    """Carry one CloudEvent and the place where it travels; outbox row, record and admin line are views of it."""

    message_id: str  # CloudEvents id: UUIDv7 for our own, any string from others
    event_name: str  # CloudEvents type
    event_version: str = ""  # extension eventversion; "" where the record has none
    source: str  # CloudEvents source; unique together with message_id
    topic: str
    key: bytes | None  # record key; None where the producer gave none
    data: bytes | None  # exact payload bytes; None is a tombstone
    published_at: datetime | None = None  # CloudEvents time
    content_type: str = "application/json"
    subject: str | None = None
    dataschema: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    tenant_id: str | None = None
    traceparent: str | None = None  # W3C context of the moment of publishing
    tracestate: str | None = None
    baggage: str | None = None
    headers: tuple[tuple[str, str], ...] = ()  # the user's own
    partition: int | None = None  # None until a broker gave one
    offset: int | None = None
    received_at: datetime | None = None  # None until a worker took it


def saga_of(envelope: Envelope) -> tuple[str, str]:
    """Return name and key of the saga that published a message; empty where none did."""
    name, _, key = dict(envelope.headers).get(SAGA_HEADER, "").partition(" ")
    return name, key


def join_headers(pairs: Iterable[tuple[str, str]]) -> str:
    """Write header pairs as the one text that the outbox stores."""
    return SEPARATOR.join(part for pair in pairs for part in pair)


def split_headers(text: str) -> list[tuple[str, str]]:
    """Read the outbox's headers text back into pairs, in their order."""
    if not text:
        return []
    parts = iter(text.split(SEPARATOR))
    return list(zip(parts, parts, strict=True))
