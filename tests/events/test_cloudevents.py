from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from django_eventbus.events.cloudevents import check_headers, from_record, to_headers, to_structured
from django_eventbus.events.envelope import Envelope, join_headers, split_headers
from django_eventbus.exceptions import EventInvalid, Undecodable, UndecodableReason

Reason = UndecodableReason
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STRUCTURED = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
REQUIRED = (("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_type", b"shop.placed"), ("ce_source", b"/shop"))
FULL = Envelope(
    message_id="01990000-0000-7000-8000-000000000001",
    event_name="shop.orders.order-placed",
    event_version="2",
    source="/shop/orders",
    topic="dev.shop.public.orders.v2",
    key=b"42",
    data=b'{ "n": 1.50 }',
    published_at=datetime(2026, 11, 21, 8, 30, 0, 123456, tzinfo=UTC),
    subject="orders/42",
    dataschema="https://example.org/schema",
    correlation_id="corr",
    causation_id="cause",
    tenant_id="tenant",
    traceparent=TRACEPARENT,
    tracestate="a=b",
    baggage="k=v",
    headers=(("x-user", "bob"), ("x-user", "alice")),
    partition=3,
    offset=7,
)


class Record(NamedTuple):
    headers: Sequence[tuple[str, bytes | None]]
    value: bytes | None = b"{}"
    key: bytes | None = None
    topic: str = "t"
    partition: int = 0
    offset: int = 0


def record_of(envelope: Envelope, *, structured: bool = False) -> Record:
    headers, value = to_structured(envelope) if structured else (to_headers(envelope), envelope.data)
    return Record(
        headers=[(name, text.encode()) for name, text in headers],
        value=value,
        key=envelope.key,
        topic=envelope.topic,
        partition=envelope.partition or 0,
        offset=envelope.offset or 0,
    )


def binary(*extra: tuple[str, bytes | None], without: str = "", value: bytes | None = b"{}") -> Record:
    return Record([pair for pair in REQUIRED if pair[0] != without] + list(extra), value)


def structured(*, without: str = "", headers: Any = STRUCTURED, **members: Any) -> Record:
    body = {"specversion": "1.0", "id": "1", "type": "shop.placed", "source": "/shop", **members}
    body.pop(without, None)
    return Record(headers, msgspec.json.encode(body))


def reason_of(record: Record) -> UndecodableReason:
    with pytest.raises(Undecodable) as caught:
        from_record(record)
    return caught.value.reason


def test_headers_of_binary_mode_byte_by_byte() -> None:
    assert to_headers(FULL) == [
        ("ce_specversion", "1.0"),
        ("ce_id", "01990000-0000-7000-8000-000000000001"),
        ("ce_type", "shop.orders.order-placed"),
        ("ce_source", "/shop/orders"),
        ("ce_time", "2026-11-21T08:30:00.123456Z"),
        ("ce_subject", "orders/42"),
        ("ce_dataschema", "https://example.org/schema"),
        ("ce_eventversion", "2"),
        ("ce_correlationid", "corr"),
        ("ce_causationid", "cause"),
        ("ce_tenantid", "tenant"),
        ("ce_traceparent", TRACEPARENT),
        ("ce_tracestate", "a=b"),
        ("traceparent", TRACEPARENT),
        ("tracestate", "a=b"),
        ("baggage", "k=v"),
        ("content-type", "application/json"),
        ("x-user", "bob"),
        ("x-user", "alice"),
    ]


def test_a_root_correlates_with_itself_and_has_no_cause() -> None:
    root = Envelope(message_id="1", event_name="a.b", source="/s", topic="t", key=None, data=b"{}")

    assert to_headers(root) == [
        ("ce_specversion", "1.0"),
        ("ce_id", "1"),
        ("ce_type", "a.b"),
        ("ce_source", "/s"),
        ("ce_correlationid", "1"),
        ("content-type", "application/json"),
    ]


def test_time_is_written_in_utc() -> None:
    moment = datetime(2026, 11, 21, 10, 30, tzinfo=timezone(timedelta(hours=2)))

    assert ("ce_time", "2026-11-21T08:30:00Z") in to_headers(replace(FULL, published_at=moment))


def test_structured_mode_keeps_the_bytes_of_json_data() -> None:
    headers, value = to_structured(FULL)

    assert ("content-type", "application/cloudevents+json; charset=UTF-8") in headers
    assert value.endswith(b'"datacontenttype":"application/json","data":{ "n": 1.50 }}')


@pytest.mark.parametrize("is_structured", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"data": None},
        {"data": b"null"},
        {"data": b"\x00\xff", "content_type": "application/octet-stream"},
        {"published_at": None},
        {"event_version": ""},
        {"traceparent": None, "tracestate": None, "baggage": None},
        {"headers": (("ce_partitionkey", "42"), ("x-user", "bob"))},
    ],
)
def test_an_envelope_survives_either_mode(change: dict[str, Any], is_structured: bool) -> None:
    sent = replace(FULL, **change)

    assert from_record(record_of(sent, structured=is_structured)) == sent


free_text = st.text(alphabet=st.characters(exclude_categories=("Cc", "Cs", "Cn")), min_size=1)


@given(message_id=free_text, tenant_id=free_text, subject=free_text, own=st.lists(st.tuples(free_text, free_text)))
def test_any_foreign_text_survives_either_mode(message_id: str, tenant_id: str, subject: str, own: Any) -> None:
    headers = tuple((f"x-{name}", value) for name, value in own)
    sent = replace(FULL, message_id=message_id, tenant_id=tenant_id, subject=subject, headers=headers)

    assert from_record(record_of(sent)) == sent
    assert from_record(record_of(sent, structured=True)) == sent
    assert split_headers(join_headers(to_headers(sent))) == to_headers(sent)


@pytest.mark.parametrize("field", ["message_id", "subject", "correlation_id", "tenant_id", "baggage"])
@pytest.mark.parametrize("text", ["a\x1fb", "a\nb", "\x00", "\x7f", "\ud800"])
@pytest.mark.parametrize("write", [to_headers, to_structured])
def test_text_that_no_attribute_may_carry_is_refused(field: str, text: str, write: Any) -> None:
    change: dict[str, Any] = {field: text}

    with pytest.raises(EventInvalid, match="control character or lone surrogate"):
        write(replace(FULL, **change))


def test_a_minimal_record_is_read_without_inventing_anything() -> None:
    assert from_record(binary()) == Envelope(
        message_id="1",
        event_name="shop.placed",
        source="/shop",
        topic="t",
        key=None,
        data=b"{}",
        partition=0,
        offset=0,
    )


def test_the_moment_of_receiving_is_the_callers() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)

    assert from_record(binary(), received_at=now).received_at == now


@pytest.mark.parametrize("message_id", ["7", "not a uuid", "ü", "A" * 5000])
def test_foreign_ids_of_any_form_are_taken(message_id: str) -> None:
    assert from_record(binary(("ce_id", message_id.encode()), without="ce_id")).message_id == message_id


def test_unknown_extensions_are_kept_before_the_senders_own_headers() -> None:
    record = binary(("x-own", b"1"), ("ce_partitionkey", b"42"), ("ce_sampledrate", b"5"))

    assert from_record(record).headers == (("ce_partitionkey", "42"), ("ce_sampledrate", "5"), ("x-own", "1"))


def test_the_record_key_stays_as_it_is() -> None:
    read = from_record(binary(("ce_partitionkey", b"42"))._replace(key=b"\xff\x00"))

    assert read.key == b"\xff\x00"
    assert read.headers == (("ce_partitionkey", "42"),)


def test_foreign_headers_never_break_a_record() -> None:
    record = binary(
        ("latin", b"\xe4"), ("none", None), ("break", b"a\x1fb\x00"), ("na\x1fme", b"v"), ("x", b"1"), ("x", b"2")
    )

    headers = from_record(record).headers

    assert headers == (
        ("latin", "\\xe4"),
        ("none", ""),
        ("break", "a\\x1fb\\x00"),
        ("na\\x1fme", "v"),
        ("x", "1"),
        ("x", "2"),
    )
    assert split_headers(join_headers(headers)) == list(headers)


@pytest.mark.parametrize(
    ("headers", "content_type"),
    [
        ([], "application/json"),
        ([("content-type", b"application/avro")], "application/avro"),
        ([("Content-Type", b"text/plain")], "text/plain"),
        ([("ce_datacontenttype", b"text/xml")], "text/xml"),
        ([("ce_datacontenttype", b"text/xml"), ("content-type", b"text/plain")], "text/plain"),
    ],
)
def test_content_type_of_binary_mode(headers: Any, content_type: str) -> None:
    read = from_record(binary(*headers))

    assert (read.content_type, read.headers) == (content_type, ())


@pytest.mark.parametrize(
    ("headers", "traceparent", "tracestate"),
    [
        ([("traceparent", b"plain"), ("tracestate", b"p=1")], "plain", "p=1"),
        ([("ce_traceparent", b"ce"), ("ce_tracestate", b"c=1")], "ce", "c=1"),
        ([("traceparent", b"plain"), ("ce_traceparent", b"ce"), ("ce_tracestate", b"c=1")], "plain", None),
        ([], None, None),
    ],
)
def test_trace_context_is_read_from_either_place(headers: Any, traceparent: str | None, tracestate: str | None) -> None:
    read = from_record(binary(*headers))

    assert (read.traceparent, read.tracestate) == (traceparent, tracestate)


def test_a_tombstone_with_attributes_has_no_data() -> None:
    assert from_record(binary(value=None)).data is None
    assert reason_of(Record([], None)) is Reason.NOT_CLOUDEVENT


@pytest.mark.parametrize(
    "text", [b"2026-11-21T08:30:00Z", b"2026-11-21t08:30:00z", b"2026-11-21T10:30:00.000000000+02:00"]
)
def test_time_in_any_form_of_rfc_3339(text: bytes) -> None:
    assert from_record(binary(("ce_time", text))).published_at == datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [b"0001-01-01T00:00:00Z", b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59Z", b"9999-12-31T23:59:59-23:59"],
)
def test_a_time_at_the_ends_of_the_calendar_is_none(text: bytes) -> None:
    read = from_record(binary(("ce_time", text)))

    assert (read.message_id, read.published_at) == ("1", None)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Record([]), Reason.NOT_CLOUDEVENT),
        (Record([("x-own", b"1"), ("content-type", b"application/json")]), Reason.NOT_CLOUDEVENT),
        (binary(without="ce_specversion"), Reason.MISSING_ATTRIBUTE),
        (binary(without="ce_id"), Reason.MISSING_ATTRIBUTE),
        (binary(without="ce_type"), Reason.MISSING_ATTRIBUTE),
        (binary(without="ce_source"), Reason.MISSING_ATTRIBUTE),
        (binary(("ce_specversion", b"0.3"), without="ce_specversion"), Reason.BAD_SPECVERSION),
        (binary(("ce_specversion", b"1.1"), without="ce_specversion"), Reason.BAD_SPECVERSION),
        (binary(("ce_id", b"2")), Reason.DUPLICATE_HEADER),
        (binary(("ce_ext", b"2"), ("ce_ext", b"2")), Reason.DUPLICATE_HEADER),
        (binary(("content-type", b"a/b"), ("Content-Type", b"a/b")), Reason.DUPLICATE_HEADER),
        (binary(("ce_subject", b"\xff")), Reason.BAD_ENCODING),
        (binary(("ce_subject", b"")), Reason.BAD_ATTRIBUTE),
        (binary(("ce_subject", None)), Reason.BAD_ATTRIBUTE),
        (binary(("ce_id", b""), without="ce_id"), Reason.BAD_ATTRIBUTE),
        (binary(("ce_subject", b"a\x1fb")), Reason.BAD_ATTRIBUTE),
        (binary(("ce_subject", "a\x85b".encode())), Reason.BAD_ATTRIBUTE),
        (binary(("ce_source", b"/sh op"), without="ce_source"), Reason.BAD_ATTRIBUTE),
        (binary(("ce_dataschema", b"<schema>")), Reason.BAD_ATTRIBUTE),
        (binary(("ce_tenant_id", b"1")), Reason.BAD_ATTRIBUTE),
        (binary(("ce_Tenant", b"1")), Reason.BAD_ATTRIBUTE),
        (binary(("ce_" + "a" * 21, b"1")), Reason.BAD_ATTRIBUTE),
        (binary(("ce_", b"1")), Reason.BAD_ATTRIBUTE),
        (binary(("ce_data", b"1")), Reason.BAD_ATTRIBUTE),
        (binary(("ce_time", b"yesterday")), Reason.BAD_ATTRIBUTE),
        (binary(("ce_time", b"2026-11-21T08:30:00")), Reason.BAD_ATTRIBUTE),
        (binary(("ce_time", b"2026-13-21T08:30:00Z")), Reason.BAD_ATTRIBUTE),
        (binary(("ce_time", b"2026-W01-1T08:30:00Z")), Reason.BAD_ATTRIBUTE),
        (binary(("ce_time", b"2026-11-21T08:30:00+01:60")), Reason.BAD_ATTRIBUTE),
        (structured(without="specversion"), Reason.MISSING_ATTRIBUTE),
        (structured(without="id"), Reason.MISSING_ATTRIBUTE),
        (structured(id=None), Reason.MISSING_ATTRIBUTE),
        (structured(specversion="2.0"), Reason.BAD_SPECVERSION),
        (structured(specversion=1.0), Reason.BAD_ATTRIBUTE),
        (structured(id=7), Reason.BAD_ATTRIBUTE),
        (structured(id=""), Reason.BAD_ATTRIBUTE),
        (structured(tenant_id="x"), Reason.BAD_ATTRIBUTE),
        (structured(ext=1.5), Reason.BAD_ATTRIBUTE),
        (structured(ext=2**31), Reason.BAD_ATTRIBUTE),
        (structured(ext={"a": 1}), Reason.BAD_ATTRIBUTE),
        (structured(data=1, data_base64="AA=="), Reason.BAD_ATTRIBUTE),
        (structured(data_base64="no base64!"), Reason.BAD_ATTRIBUTE),
        (structured(data_base64=5), Reason.BAD_ATTRIBUTE),
        (structured(data_base64=1234), Reason.BAD_ATTRIBUTE),  # as text it would be base64
        (structured(data_base64=None), Reason.BAD_ATTRIBUTE),
        (Record(STRUCTURED, None), Reason.NOT_CLOUDEVENT),
        (Record(STRUCTURED, b"[]"), Reason.NOT_CLOUDEVENT),
        (Record(STRUCTURED, b"{"), Reason.INVALID_JSON),
        (Record(STRUCTURED, b'{"id": "\xff"}'), Reason.BAD_ENCODING),
        (Record(STRUCTURED, b'{"data": ' + b"[" * 100_000), Reason.TOO_DEEP),
        (structured(headers=[("content-type", b"application/cloudevents+avro")]), Reason.UNSUPPORTED_CONTENT_TYPE),
        (
            structured(headers=[("content-type", b"application/cloudevents-batch+json")]),
            Reason.UNSUPPORTED_CONTENT_TYPE,
        ),
        (
            structured(headers=[("content-type", b"application/cloudevents+json; charset=latin1")]),
            Reason.UNSUPPORTED_CONTENT_TYPE,
        ),
    ],
)
def test_what_is_no_valid_cloudevent_is_classified(record: Record, reason: UndecodableReason) -> None:
    assert reason_of(record) is reason


def test_the_content_type_decides_the_mode() -> None:
    record = structured(headers=[*STRUCTURED, ("ce_id", b"\xff"), ("ce_id", b"other"), ("x-own", b"1")], data={"n": 1})

    read = from_record(record)

    assert (read.message_id, read.data, read.headers) == ("1", b'{"n":1}', (("x-own", "1"),))


@pytest.mark.parametrize(
    ("members", "data"),
    [
        ({}, None),
        ({"data": None}, b"null"),
        ({"data": "text"}, b'"text"'),
        ({"data": "text", "datacontenttype": "text/plain"}, b"text"),
        ({"data": {"a": 1}, "datacontenttype": "application/x+json"}, b'{"a":1}'),
        ({"data_base64": "AP8=", "datacontenttype": "application/octet-stream"}, b"\x00\xff"),
    ],
)
def test_data_of_structured_mode(members: dict[str, Any], data: bytes | None) -> None:
    assert from_record(structured(**members)).data == data


def test_extensions_of_structured_mode_become_text() -> None:
    read = from_record(structured(flag=True, off=False, number=-5, absent=None))

    assert read.headers == (("ce_flag", "true"), ("ce_off", "false"), ("ce_number", "-5"))


@given(
    st.lists(st.tuples(st.sampled_from([*dict(REQUIRED), "content-type", "ce_time", "x"]), st.none() | st.binary())),
    st.binary(),
)
def test_any_record_is_an_event_or_undecodable(headers: list[tuple[str, bytes | None]], value: bytes) -> None:
    with suppress(Undecodable):
        assert from_record(Record(headers, value)).message_id


def test_a_users_headers_become_pairs() -> None:
    assert check_headers({"x-user": "bob", "X": "ü"}) == (("x-user", "bob"), ("X", "ü"))


@pytest.mark.parametrize(
    "headers",
    [
        {"ce_id": "1"},
        {"CE_anything": "1"},
        {"content-type": "text/plain"},
        {"Content-Type": "text/plain"},
        {"traceparent": "1"},
        {"tracestate": "1"},
        {"baggage": "1"},
        {"": "1"},
        {"x": "a\x1fb"},
        {"x\x00": "1"},
        {"x": "\ud800"},
        {"x": 1},
        {1: "x"},
    ],
)
def test_headers_that_cannot_travel_are_refused(headers: Any) -> None:
    with pytest.raises(EventInvalid) as caught:
        check_headers({"fine": "1", **headers})

    assert len(caught.value.errors) == 1
