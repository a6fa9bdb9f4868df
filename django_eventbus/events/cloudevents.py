"""How is an envelope written to a record, and read from one, as CloudEvents 1.0?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from django_eventbus.exceptions import EventInvalid, Undecodable, UndecodableReason

from .attributes import (
    escape_illegal,
    is_legal_text,
    parse_time,
    require_name,
    require_uri_reference,
    require_value,
)
from .codec import JSON, is_json
from .envelope import Envelope
from .structured import STRUCTURED_JSON, is_structured, read_structured

SPECVERSION = "1.0"
PREFIX = "ce_"
CONTENT_TYPE = "content-type"
TRACE_HEADERS = ("traceparent", "tracestate", "baggage")
RESERVED_HEADERS = frozenset({CONTENT_TYPE, *TRACE_HEADERS})

_encode = msgspec.json.Encoder().encode
_OWN_FIELDS = frozenset({
    "specversion", "id", "type", "source", "time", "subject", "dataschema", "datacontenttype", "eventversion",
    "correlationid", "causationid", "tenantid", "traceparent", "tracestate",
})  # fmt: skip

_FREE_TEXT = (
    "message_id", "source", "subject", "dataschema", "correlation_id", "causation_id", "tenant_id",
    "traceparent", "tracestate", "baggage",
)  # fmt: skip


class RecordLike(Protocol):
    """What is read of a record; the transports' `Record` satisfies it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


def to_headers(envelope: Envelope) -> list[tuple[str, str]]:
    """Return the headers of binary mode, in their fixed order; raise EventInvalid for text that none may carry."""
    _require_legal(envelope)
    headers = [(PREFIX + name, value) for name, value in _attributes(envelope)]
    headers += _trace_headers(envelope)
    headers.append((CONTENT_TYPE, envelope.content_type))
    headers += envelope.headers
    return headers


def to_structured(envelope: Envelope) -> tuple[list[tuple[str, str]], bytes]:
    """Return headers and value of structured mode; JSON data is embedded byte by byte."""
    _require_legal(envelope)
    body: dict[str, object] = dict(_attributes(envelope))
    body |= {name.removeprefix(PREFIX): value for name, value in envelope.headers if name.startswith(PREFIX)}
    body["datacontenttype"] = envelope.content_type
    if envelope.data is not None:
        if is_json(envelope.content_type):
            body["data"] = msgspec.Raw(envelope.data)
        else:
            body["data_base64"] = envelope.data  # msgspec writes bytes as base64
    own = [(name, value) for name, value in envelope.headers if not name.startswith(PREFIX)]
    return [*_trace_headers(envelope), (CONTENT_TYPE, STRUCTURED_JSON), *own], _encode(body)


def from_record(record: RecordLike, *, received_at: datetime | None = None) -> Envelope:
    """Read a record in either mode; raise Undecodable where it is no valid CloudEvent.

    Nothing missing is made up. A tombstone without headers is no CloudEvent: look at `record.value` first.
    Unknown extensions are kept in `headers` as `ce_<name>`, before the sender's own headers.
    """
    parts = _split(record.headers)
    if is_structured(parts.content_type):
        attributes, data = read_structured(record.value, content_type=parts.content_type or "")
    else:
        attributes, data = _read_binary(parts), record.value
    _require_valid(attributes)
    get = attributes.get
    time = get("time")
    extensions = ((PREFIX + name, value) for name, value in attributes.items() if name not in _OWN_FIELDS)
    return Envelope(
        message_id=attributes["id"],
        event_name=attributes["type"],
        event_version=get("eventversion", ""),
        source=attributes["source"],
        topic=record.topic,
        key=record.key,
        data=data,
        published_at=None if time is None else parse_time(time),
        content_type=get("datacontenttype", JSON),
        subject=get("subject"),
        dataschema=get("dataschema"),
        correlation_id=get("correlationid"),
        causation_id=get("causationid"),
        tenant_id=get("tenantid"),
        traceparent=parts.trace.get("traceparent") or get("traceparent"),
        tracestate=parts.trace.get("tracestate") if "traceparent" in parts.trace else get("tracestate"),
        baggage=parts.trace.get("baggage"),
        headers=(*extensions, *parts.own),
        partition=record.partition,
        offset=record.offset,
        received_at=received_at,
    )


def check_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return a user's own headers as pairs; raise EventInvalid, listing every one that cannot travel."""
    errors = []
    for name, value in headers.items():
        if not all(isinstance(part, str) for part in (name, value)):
            errors.append(f"header {name!r}: name and value must be str")
        elif not name or not is_legal_text(name + value):
            errors.append(f"header {name!r}: empty name, or a control character or lone surrogate")
        elif name.lower().startswith(PREFIX) or name.lower() in RESERVED_HEADERS:
            errors.append(f"header {name!r}: reserved, django_eventbus writes it itself")
    if errors:
        raise EventInvalid(f"headers= is not valid: {'; '.join(errors)}", errors=tuple(errors))
    return tuple(headers.items())


def _attributes(envelope: Envelope) -> list[tuple[str, str]]:
    found = [
        ("specversion", SPECVERSION),
        ("id", envelope.message_id),
        ("type", envelope.event_name),
        ("source", envelope.source),
    ]
    if envelope.published_at is not None:
        found.append(("time", _rfc3339(envelope.published_at)))
    if envelope.subject:
        found.append(("subject", envelope.subject))
    if envelope.dataschema:
        found.append(("dataschema", envelope.dataschema))
    if envelope.event_version:
        found.append(("eventversion", envelope.event_version))
    found.append(("correlationid", envelope.correlation_id or envelope.message_id))
    if envelope.causation_id:
        found.append(("causationid", envelope.causation_id))
    if envelope.tenant_id:
        found.append(("tenantid", envelope.tenant_id))
    if envelope.traceparent:
        found.append(("traceparent", envelope.traceparent))
    if envelope.tracestate:
        found.append(("tracestate", envelope.tracestate))
    return found


def _trace_headers(envelope: Envelope) -> list[tuple[str, str]]:
    values = envelope.traceparent, envelope.tracestate, envelope.baggage
    return [(name, value) for name, value in zip(TRACE_HEADERS, values, strict=True) if value]


def _rfc3339(moment: datetime) -> str:
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat()[:-6] + "Z"


def _require_legal(envelope: Envelope) -> None:
    values = [getattr(envelope, name) for name in _FREE_TEXT]
    if "".join([value for value in values if value]).isprintable():
        return
    errors = tuple(
        f"{name}: a control character or lone surrogate"
        for name, value in zip(_FREE_TEXT, values, strict=True)
        if value and not is_legal_text(value)
    )
    if errors:
        raise EventInvalid(f"{envelope.event_name} cannot travel: {'; '.join(errors)}", errors=errors)


@dataclass(slots=True)
class _Parts:
    """Headers of one record, sorted by their meaning."""

    content_type: str | None = None
    attributes: list[tuple[str, bytes | None]] = field(default_factory=list)
    trace: dict[str, str] = field(default_factory=dict)
    own: list[tuple[str, str]] = field(default_factory=list)


def _split(headers: Sequence[tuple[str, bytes | None]]) -> _Parts:
    parts = _Parts()
    for name, value in headers:
        if name.startswith(PREFIX):
            parts.attributes.append((name[3:], value))
        elif name in TRACE_HEADERS:
            parts.trace.setdefault(name, _readable(value))
        elif name.lower() == CONTENT_TYPE:
            if parts.content_type is not None:
                raise Undecodable(UndecodableReason.DUPLICATE_HEADER, f"{CONTENT_TYPE} is there twice")
            parts.content_type = _readable(value)
        else:
            parts.own.append((escape_illegal(name), _readable(value)))
    return parts


def _read_binary(parts: _Parts) -> dict[str, str]:
    if not parts.attributes:
        raise Undecodable(UndecodableReason.NOT_CLOUDEVENT, "no ce_ header and no CloudEvents content-type")
    attributes: dict[str, str] = {}
    for name, value in parts.attributes:
        require_name(name)
        if name in attributes:
            raise Undecodable(UndecodableReason.DUPLICATE_HEADER, f"{PREFIX}{name} is there twice")
        try:
            text = (value or b"").decode()
        except UnicodeDecodeError as exc:
            raise Undecodable(UndecodableReason.BAD_ENCODING, f"{PREFIX}{name} is not UTF-8") from exc
        require_value(name, text)
        attributes[name] = text
    if parts.content_type:
        attributes["datacontenttype"] = parts.content_type
    return attributes


def _require_valid(attributes: Mapping[str, str]) -> None:
    for name in ("specversion", "id", "type", "source"):
        if name not in attributes:
            raise Undecodable(UndecodableReason.MISSING_ATTRIBUTE, f"{name} is missing")
    if attributes["specversion"] != SPECVERSION:
        raise Undecodable(UndecodableReason.BAD_SPECVERSION, f"{attributes['specversion']!r:.40} instead of '1.0'")
    require_uri_reference("source", attributes["source"])
    if "dataschema" in attributes:
        require_uri_reference("dataschema", attributes["dataschema"])


def _readable(value: bytes | None) -> str:
    return escape_illegal((value or b"").decode(errors="backslashreplace"))
