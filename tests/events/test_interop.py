"""The public cloudevents SDK reads what we write, and writes what we read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings import kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from django_eventbus.events.cloudevents import PREFIX, from_record, to_headers, to_structured
from django_eventbus.events.envelope import Envelope
from tests.events.test_cloudevents import FULL, Record

SENT = replace(FULL, headers=(("ce_partitionkey", "42"),))
# The SDK knows neither the trace headers beside the attributes nor the place of the record.
PLACE: dict[str, Any] = {"baggage": None, "partition": 0, "offset": 0}

text = st.text(alphabet=st.characters(exclude_categories=("Cc", "Cs", "Cn")), min_size=1)
payloads = st.dictionaries(text, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text)
moments = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001


def attributes_of(envelope: Envelope) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": envelope.message_id,
        "type": envelope.event_name,
        "source": envelope.source,
        "time": envelope.published_at,
        "subject": envelope.subject,
        "dataschema": envelope.dataschema,
        "datacontenttype": envelope.content_type,
        "eventversion": envelope.event_version,
        "correlationid": envelope.correlation_id,
        "causationid": envelope.causation_id,
        "tenantid": envelope.tenant_id,
        "traceparent": envelope.traceparent,
        "tracestate": envelope.tracestate,
        "partitionkey": "42",
    }


def read_by_sdk(envelope: Envelope, *, structured: bool) -> CloudEvent:
    headers, value = to_structured(envelope) if structured else (to_headers(envelope), envelope.data or b"")
    shown = {name: text.encode() for name, text in headers if name.startswith(PREFIX) or name == "content-type"}
    message = kafka.KafkaMessage(headers=shown, key=None, value=value)
    read: Any = kafka.from_kafka(message, JSONFormat(), CloudEvent)
    return read  # type: ignore[no-any-return]


def written_by_sdk(attributes: dict[str, Any], data: Any, *, structured: bool) -> Record:
    made = CloudEvent(attributes=dict(attributes), data=data)
    message = (kafka.to_structured if structured else kafka.to_binary)(made, JSONFormat())
    key = message.key.encode() if isinstance(message.key, str) else message.key
    return Record(list(message.headers.items()), message.value, key=key, topic=FULL.topic)


@pytest.mark.parametrize("structured", [False, True])
def test_the_sdk_reads_our_records(structured: bool) -> None:
    read = read_by_sdk(SENT, structured=structured)

    assert read.get_attributes() == attributes_of(SENT)
    assert read.get_data() == {"n": 1.5}


@pytest.mark.parametrize("structured", [False, True])
def test_we_read_the_sdks_records(structured: bool) -> None:
    read = from_record(written_by_sdk(attributes_of(SENT), {"n": 1.5}, structured=structured))

    assert msgspec.json.decode(read.data or b"") == {"n": 1.5}
    assert read == replace(SENT, data=read.data, **PLACE)


@given(message_id=text, subject=text, published_at=moments, payload=payloads, structured=st.booleans())
def test_both_agree_on_any_event(
    message_id: str, subject: str, published_at: datetime, payload: dict[str, Any], structured: bool
) -> None:
    sent = replace(
        SENT, message_id=message_id, subject=subject, published_at=published_at, data=msgspec.json.encode(payload)
    )

    ours = from_record(written_by_sdk(attributes_of(sent), payload, structured=structured))
    theirs = read_by_sdk(sent, structured=structured)

    assert replace(ours, data=None) == replace(sent, data=None, **PLACE)
    assert msgspec.json.decode(ours.data or b"") == payload
    assert theirs.get_attributes() == attributes_of(sent)
    assert theirs.get_data() == payload


def test_binary_data_of_the_sdk_comes_through_structured_mode() -> None:
    attributes = {**attributes_of(SENT), "datacontenttype": "application/octet-stream"}

    assert from_record(written_by_sdk(attributes, b"\x00\xff", structured=True)).data == b"\x00\xff"
