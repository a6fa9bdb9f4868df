"""Any CloudEvent survives either mode, and we and the SDK read alike what the other one wrote."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
from cloudevents.core.bindings import kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from django_eventbus.events.cloudevents import RESERVED_HEADERS, check_headers, from_record
from django_eventbus.events.envelope import SEPARATOR, Envelope, join_headers, split_headers
from tests.events.test_cloudevents import Record, record_of
from tests.events.test_interop import written_by_sdk

text = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=30)
maybe = st.none() | text
uris = st.from_regex(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]{1,20}", fullmatch=True).map(
    lambda uri: uri.replace("%", "%20")
)
extension_names = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True)
OWN = frozenset({
    "specversion", "id", "type", "source", "time", "subject", "dataschema", "datacontenttype", "data", "eventversion",
    "correlationid", "causationid", "tenantid", "traceparent", "tracestate", "partitionkey",
})  # fmt: skip
zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC) | zones)  # noqa: DTZ001
payloads = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
own_names = text.filter(lambda name: not name.lower().startswith("ce_") and name.lower() not in RESERVED_HEADERS)


@st.composite
def envelopes(draw: st.DrawFn, *, is_full: bool = False) -> Envelope:
    """Make any envelope that `to_headers` and `to_structured` may be asked to write; a full one has time and data."""
    is_json, nothing = draw(st.booleans()), st.nothing() if is_full else st.none()
    data = nothing | (payloads.map(msgspec.json.encode) if is_json else st.binary(min_size=1))
    traceparent = draw(maybe)
    found = draw(st.dictionaries(extension_names.filter(lambda name: name not in OWN), text, max_size=3))
    own = draw(st.lists(st.tuples(own_names, text), max_size=3))
    return Envelope(
        message_id=draw(text),
        event_name=draw(text),
        event_version=draw(st.just("") | text),
        source=draw(uris),
        topic="t",
        key=draw(st.none() | st.binary()),
        data=draw(data),
        published_at=draw(nothing | moments),
        content_type="application/json" if is_json else "application/octet-stream",
        subject=draw(maybe),
        dataschema=draw(st.none() | uris),
        correlation_id=draw(text),
        causation_id=draw(maybe),
        tenant_id=draw(maybe),
        traceparent=traceparent,
        tracestate=draw(maybe) if traceparent else None,
        baggage=draw(maybe),
        headers=(*((f"ce_{name}", value) for name, value in found.items()), *own),
        partition=0,
        offset=0,
    )


@given(envelopes(), st.booleans())
def test_any_envelope_survives_either_mode(sent: Envelope, structured: bool) -> None:
    read = from_record(record_of(sent, structured=structured))

    assert read == sent


attributes = st.fixed_dictionaries(
    # The SDK makes up a time where there is none.
    {"id": text, "type": text, "source": uris, "specversion": st.just("1.0"), "time": moments},
    optional={"subject": text, "dataschema": uris, "eventversion": text, "tenantid": text, "ext": text},
)


def told(read: Envelope) -> dict[str, Any]:
    """Return what the attributes of an envelope are, as the SDK names them."""
    named = {
        "id": read.message_id,
        "type": read.event_name,
        "source": read.source,
        "specversion": "1.0",
        "time": read.published_at,
        "subject": read.subject,
        "dataschema": read.dataschema,
        "eventversion": read.event_version or None,
        "tenantid": read.tenant_id,
        "ext": dict(read.headers).get("ce_ext"),
    }
    return {name: value for name, value in named.items() if value is not None}


@given(attributes, st.dictionaries(text, payloads, max_size=3), st.booleans())  # the SDK writes only dicts as JSON
def test_what_the_sdk_writes_we_read_alike(written: dict[str, Any], payload: dict[str, Any], structured: bool) -> None:
    record = written_by_sdk({**written, "datacontenttype": "application/json"}, payload, structured=structured)

    read = from_record(record)

    assert told(read) == written
    assert msgspec.json.decode(read.data or b"") == payload


@given(envelopes(is_full=True), st.booleans())  # the SDK makes up a time where there is none
def test_what_we_write_the_sdk_reads_alike(sent: Envelope, structured: bool) -> None:
    record = record_of(sent, structured=structured)
    shown = {name: value or b"" for name, value in record.headers if name.startswith("ce_") or name == "content-type"}

    read: Any = kafka.from_kafka(
        kafka.KafkaMessage(headers=shown, key=None, value=record.value or b""), JSONFormat(), CloudEvent
    )

    found = read.get_attributes()
    assert (found["id"], found["type"], found["source"]) == (sent.message_id, sent.event_name, sent.source)
    assert (found.get("time"), found.get("subject"), found.get("dataschema")) == (
        sent.published_at,
        sent.subject,
        sent.dataschema,
    )
    assert {f"ce_{name}": value for name, value in found.items() if name not in OWN} == {
        name: value for name, value in sent.headers if name.startswith("ce_")
    }
    data = read.get_data()
    if sent.content_type == "application/json":
        assert data == msgspec.json.decode(sent.data or b"")
    else:  # the SDK takes bytes for text where it can
        assert (data.encode() if isinstance(data, str) else data) == sent.data


@given(st.dictionaries(st.text(max_size=6), st.text(max_size=6), max_size=4))
def test_headers_of_a_user_come_through_as_they_are_or_are_refused(headers: dict[str, str]) -> None:
    try:
        pairs = check_headers(headers)
    except ValueError:
        return

    assert dict(pairs) == headers
    required = [("ce_specversion", "1.0"), ("ce_id", "1"), ("ce_type", "t"), ("ce_source", "/s")]
    kept = split_headers(join_headers([*required, *pairs]))
    assert from_record(Record([(name, value.encode()) for name, value in kept])).headers == pairs


no_separator = st.text(st.characters(exclude_categories=["Cs"]).filter(lambda letter: letter != SEPARATOR), max_size=5)


@given(st.lists(st.tuples(no_separator, no_separator), max_size=5))
def test_joined_headers_are_the_same_pairs_again(pairs: list[tuple[str, str]]) -> None:
    assert split_headers(join_headers(pairs)) == pairs
