"""How is an envelope written to a record, and read from one, as CloudEvents 1.0?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
_REQUIRED = frozenset({"specversion", "id", "type", "source"})
_OWN_FIELDS = frozenset({
    "specversion", "id", "type", "source", "time", "subject", "dataschema", "datacontenttype", "eventversion",
    "correlationid", "causationid", "tenantid", "traceparent", "tracestate",
})  # fmt: skip
_OWN_HEADERS = {PREFIX + name: name for name in _OWN_FIELDS}


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
    headers = _attribute_headers(envelope)
    headers += _trace_headers(envelope)
    headers.append((CONTENT_TYPE, envelope.content_type))
    headers += envelope.headers
    _require_legal(headers)
    return headers


def to_structured(envelope: Envelope) -> tuple[list[tuple[str, str]], bytes]:
    """Return headers and value of structured mode; JSON data is embedded byte by byte."""
    attributes = _attribute_headers(envelope) + [pair for pair in envelope.headers if pair[0].startswith(PREFIX)]
    own = [pair for pair in envelope.headers if not pair[0].startswith(PREFIX)]
    headers = [*_trace_headers(envelope), (CONTENT_TYPE, STRUCTURED_JSON), *own]
    _require_legal(attributes + headers)
    body: dict[str, object] = {name.removeprefix(PREFIX): value for name, value in attributes}
    body["datacontenttype"] = envelope.content_type
    if envelope.data is not None:
        if is_json(envelope.content_type):
            body["data"] = msgspec.Raw(envelope.data)
        else:
            body["data_base64"] = envelope.data  # msgspec writes bytes as base64
    return headers, _encode(body)


def from_record(record: RecordLike, *, received_at: datetime | None = None) -> Envelope:
    """Read a record in either mode; raise Undecodable where it is no valid CloudEvent.

    Nothing missing is made up. A tombstone without headers is no CloudEvent: look at `record.value` first.
    Unknown extensions are kept in `headers` as `ce_<name>`, before the sender's own headers.
    """
    parts = _Parts(record.headers)
    if is_structured(parts.content_type):
        attributes, data = read_structured(record.value, content_type=parts.content_type or "")
    else:
        attributes, data = parts.binary_attributes(), record.value
    _require_valid(attributes)
    get, trace = attributes.get, parts.trace
    time, traceparent = get("time"), trace.get("traceparent")
    extensions = [(PREFIX + name, attributes[name]) for name in attributes if name not in _OWN_FIELDS]
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
        traceparent=traceparent or get("traceparent"),
        tracestate=get("tracestate") if traceparent is None else trace.get("tracestate"),
        baggage=trace.get("baggage"),
        headers=(*extensions, *parts.own),
        partition=record.partition,
        offset=record.offset,
        received_at=received_at,
    )


def rfc3339(moment: datetime) -> str:
    """Write a moment as CloudEvents does, in UTC."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat()[:-6] + "Z"


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


def _attribute_headers(envelope: Envelope) -> list[tuple[str, str]]:
    message_id, moment = envelope.message_id, envelope.published_at
    headers = [
        ("ce_specversion", SPECVERSION),
        ("ce_id", message_id),
        ("ce_type", envelope.event_name),
        ("ce_source", envelope.source),
    ]
    if moment is not None:
        headers.append(("ce_time", rfc3339(moment)))
    if subject := envelope.subject:
        headers.append(("ce_subject", subject))
    if dataschema := envelope.dataschema:
        headers.append(("ce_dataschema", dataschema))
    if version := envelope.event_version:
        headers.append(("ce_eventversion", version))
    headers.append(("ce_correlationid", envelope.correlation_id or message_id))
    if causation_id := envelope.causation_id:
        headers.append(("ce_causationid", causation_id))
    if tenant_id := envelope.tenant_id:
        headers.append(("ce_tenantid", tenant_id))
    if traceparent := envelope.traceparent:
        headers.append(("ce_traceparent", traceparent))
    if tracestate := envelope.tracestate:
        headers.append(("ce_tracestate", tracestate))
    return headers


def _trace_headers(envelope: Envelope) -> list[tuple[str, str]]:
    headers = []
    if traceparent := envelope.traceparent:
        headers.append(("traceparent", traceparent))
    if tracestate := envelope.tracestate:
        headers.append(("tracestate", tracestate))
    if baggage := envelope.baggage:
        headers.append(("baggage", baggage))
    return headers


def _require_legal(headers: list[tuple[str, str]]) -> None:
    if "".join([value for _, value in headers]).isprintable():
        return
    errors = tuple(
        f"{name.removeprefix(PREFIX)}: a control character or lone surrogate"
        for name, value in headers
        if not is_legal_text(value)
    )
    if errors:
        raise EventInvalid(f"The event cannot travel: {'; '.join(errors)}", errors=errors)


class _Parts:
    """Sort the headers of one record by their meaning."""

    __slots__ = ("_doubtful", "attributes", "content_type", "own", "trace")

    def __init__(self, headers: Iterable[tuple[str, bytes | None]]) -> None:
        self.content_type: str | None = None
        self.trace: dict[str, str] = {}
        self.own: list[tuple[str, str]] = []
        attributes: dict[str, str] = {}
        self.attributes = attributes
        self._doubtful: list[tuple[str, bytes | None]] = []  # attributes that need a closer look
        for header, value in headers:
            # A loop of few steps for what nearly all headers are: it runs eight times a message.
            name = _OWN_HEADERS.get(header)
            if name is None:
                self._add_other(header, value)
                continue
            text = value.decode("utf-8", "surrogateescape") if value else ""
            if text and text.isprintable() and name not in attributes:
                attributes[name] = text
            else:
                self._doubtful.append((name, value))

    def binary_attributes(self) -> dict[str, str]:
        """Return the attributes of binary mode; in structured mode nobody asks, so their faults don't count there."""
        attributes = self.attributes
        for name, value in self._doubtful:
            if name in attributes:
                raise Undecodable(UndecodableReason.DUPLICATE_HEADER, f"{PREFIX}{name} is there twice")
            if name not in _OWN_FIELDS:
                require_name(name)
            try:
                text = attributes[name] = value.decode() if value else ""
            except UnicodeDecodeError as exc:
                raise Undecodable(UndecodableReason.BAD_ENCODING, f"{PREFIX}{name} is not UTF-8") from exc
            require_value(name, text)
        if not attributes:
            raise Undecodable(UndecodableReason.NOT_CLOUDEVENT, "no ce_ header and no CloudEvents content-type")
        if self.content_type:
            attributes["datacontenttype"] = self.content_type
        return attributes

    def _add_other(self, header: str, value: bytes | None) -> None:
        if header.startswith(PREFIX):
            self._doubtful.append((header[3:], value))
        elif header in TRACE_HEADERS:
            self.trace.setdefault(header, _readable(value))
        elif header.lower() != CONTENT_TYPE:
            self.own.append((escape_illegal(header), _readable(value)))
        elif self.content_type is None:
            self.content_type = _readable(value)
        else:
            raise Undecodable(UndecodableReason.DUPLICATE_HEADER, f"{CONTENT_TYPE} is there twice")


def _require_valid(attributes: Mapping[str, str]) -> None:
    if missing := _REQUIRED - attributes.keys():
        raise Undecodable(UndecodableReason.MISSING_ATTRIBUTE, f"missing: {', '.join(sorted(missing))}")
    if attributes["specversion"] != SPECVERSION:
        raise Undecodable(UndecodableReason.BAD_SPECVERSION, f"{attributes['specversion']!r:.40} instead of '1.0'")
    require_uri_reference("source", attributes["source"])
    if "dataschema" in attributes:
        require_uri_reference("dataschema", attributes["dataschema"])


def _readable(value: bytes | None) -> str:
    return escape_illegal(value.decode(errors="backslashreplace")) if value else ""
