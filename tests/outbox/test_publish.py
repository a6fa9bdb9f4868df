from __future__ import annotations

import json
import uuid
import warnings
from typing import Any

import pytest
from django.db import connection, transaction

from django_eventbus import (
    EventInvalid,
    EventTooLarge,
    NotAnEvent,
    NotPublishable,
    current_context,
    message_context,
    publish,
    publish_many,
)
from django_eventbus.events.envelope import split_headers
from django_eventbus.events.keys import shard_of
from django_eventbus.models import ControlFlag, OutboxMessage
from tests.outbox.published_events import OrderNoted, OrderPlaced, OrderShipped, PaymentMade
from tests.shop.models import Order

pytestmark = pytest.mark.django_db

NOW_INVALID = OrderPlaced(order_id="no uuid", total="no number")  # type: ignore[arg-type]


def headers_of(row: OutboxMessage) -> dict[str, str]:
    return dict(split_headers(row.headers))


def key_of(row: OutboxMessage) -> bytes:
    assert row.key is not None
    return bytes(row.key)


def test_row_holds_what_will_be_sent() -> None:
    order_id = uuid.uuid4()

    with transaction.atomic():
        event_id = publish(OrderPlaced(order_id=order_id, total=7))

    row = OutboxMessage.objects.get()
    assert row.event_id == event_id
    assert row.event_name == "tests.publishing.order-placed"
    assert row.topic == "dev.tests.public.orders.v1"
    assert key_of(row) == str(order_id).encode()
    assert row.shard == shard_of(key_of(row))
    assert row.bus == ControlFlag.objects.get(bus="default").pk
    assert json.loads(bytes(row.payload)) == {"order_id": str(order_id), "total": 7, "note": "", "lines": []}


def test_headers_are_those_of_the_wire_in_their_order() -> None:
    with transaction.atomic():
        event_id = publish(OrderShipped(number=3), headers={"origin": "web"})

    pairs = split_headers(OutboxMessage.objects.get().headers)
    values = dict(pairs)
    assert [name for name, _ in pairs] == [
        "ce_specversion",
        "ce_id",
        "ce_type",
        "ce_source",
        "ce_time",
        "ce_subject",
        "ce_eventversion",
        "ce_correlationid",
        "content-type",
        "origin",
    ]
    assert values["ce_id"] == values["ce_correlationid"] == str(event_id)
    assert values["ce_subject"] == "orders/3"
    assert values["ce_eventversion"] == "2"
    assert values["origin"] == "web"


def test_key_is_the_event_id_where_none_is_declared() -> None:
    with transaction.atomic():
        event_id = publish(OrderShipped(number=1))

    assert key_of(OutboxMessage.objects.get()) == str(event_id).encode()


@pytest.mark.parametrize(
    ("key", "stored"),
    [("k", b"k"), (7, b"7"), (("a|b", 1), rb"a\|b|1"), ("ü", "ü".encode())],
)
def test_given_key_replaces_the_events_own(key: object, stored: bytes) -> None:
    with transaction.atomic():
        publish(OrderPlaced(order_id=uuid.uuid4()), key=key)

    assert key_of(OutboxMessage.objects.get()) == stored


def test_empty_key_is_stored_as_none() -> None:
    with transaction.atomic():
        publish(OrderPlaced(order_id=uuid.uuid4()), key="")

    assert OutboxMessage.objects.get().key is None


def test_given_event_id_is_used() -> None:
    given = uuid.uuid4()

    with transaction.atomic():
        assert publish(OrderShipped(number=1), event_id=given) == given

    assert headers_of(OutboxMessage.objects.get())["ce_id"] == str(given)


def test_event_id_for_several_events_is_refused() -> None:
    with transaction.atomic(), pytest.raises(EventInvalid, match="event_id names one event"):
        publish_many([OrderShipped(number=1), OrderShipped(number=2)], event_id=uuid.uuid4())


def test_many_events_are_written_in_their_order_by_one_statement(django_assert_num_queries: Any) -> None:
    with transaction.atomic():
        publish(OrderShipped(number=0))  # the bus's number is looked up once per transaction under TestCase

    with transaction.atomic(), django_assert_num_queries(2) as queries:
        ids = publish_many([OrderShipped(number=n) for n in range(1, 11)])

    assert [query["sql"].startswith("INSERT") for query in queries] == [False, True]
    rows = OutboxMessage.objects.order_by("id")[1:]
    assert [row.event_id for row in rows] == ids
    assert [json.loads(bytes(row.payload))["number"] for row in rows] == list(range(1, 11))


def test_no_events_need_no_statement(django_assert_num_queries: Any) -> None:
    with transaction.atomic(), django_assert_num_queries(0):
        assert publish_many([]) == []


@pytest.mark.parametrize(
    "source", ["urn:uuid:00000000-0000-0000-0000-000000000000", "/made/0001-01-01T00:00:00Z", "/orders"]
)
def test_a_source_is_sent_as_it_is_set_whatever_it_looks_like(settings: Any, source: str) -> None:
    settings.EVENTBUS = {"default": {"SOURCE": source}}

    with transaction.atomic():
        event_id = publish(OrderShipped(number=5))

    headers = headers_of(OutboxMessage.objects.get())
    assert (headers["ce_source"], headers["ce_id"]) == (source, str(event_id))


def test_structured_mode_writes_one_json_document(settings: Any) -> None:
    settings.EVENTBUS = {"default": {"CONTENT_MODE": "structured"}}

    with transaction.atomic():
        event_id = publish(OrderShipped(number=5))

    row = OutboxMessage.objects.get()
    assert headers_of(row)["content-type"].startswith("application/cloudevents+json")
    document = json.loads(bytes(row.payload))
    assert document["id"] == str(event_id)
    assert document["data"] == {"number": 5}


class TestContext:
    def test_is_inherited_by_every_publish_inside(self) -> None:
        inherited = message_context(correlation_id="c1", causation_id="m0", tenant_id="t1", headers={"origin": "job"})
        with inherited, transaction.atomic():
            publish(OrderShipped(number=1))

        values = headers_of(OutboxMessage.objects.get())
        assert values["ce_correlationid"] == "c1"
        assert values["ce_causationid"] == "m0"
        assert values["ce_tenantid"] == "t1"
        assert values["origin"] == "job"

    def test_keeps_what_an_inner_one_leaves_out(self) -> None:
        with message_context(correlation_id="c1", headers={"a": "1", "b": "1"}):
            with message_context(tenant_id="t1", headers={"b": "2"}):
                inner = current_context()

            assert (inner.correlation_id, inner.tenant_id, inner.headers) == ("c1", "t1", {"a": "1", "b": "2"})
            assert current_context().tenant_id is None

    def test_headers_of_the_call_stand_above_it(self) -> None:
        with message_context(headers={"origin": "job"}), transaction.atomic():
            publish(OrderShipped(number=1), headers={"origin": "call"})

        assert headers_of(OutboxMessage.objects.get())["origin"] == "call"


REFUSED: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (object(), {}, NotAnEvent, "Put @event"),
    (OrderShipped, {}, NotAnEvent, "Publish an instance"),
    ([OrderShipped(number=1)], {}, NotAnEvent, "list is no event"),
    (PaymentMade(number=1), {}, NotPublishable, "belongs to another service"),
    (NOW_INVALID, {}, EventInvalid, "order_id: .*; total: "),
    (OrderPlaced(order_id=uuid.uuid4(), note="\ud800"), {}, EventInvalid, "note: "),
    (OrderPlaced(order_id=uuid.uuid4(), note="x" * 1_000_000), {}, EventTooLarge, "MAX_EVENT_BYTES.* = 900000"),
    (OrderShipped(number=1), {"headers": {"ce_id": "1"}}, EventInvalid, "reserved"),
    (OrderShipped(number=1), {"headers": {"Traceparent": "1"}}, EventInvalid, "reserved"),
    (OrderShipped(number=1), {"headers": {"a": "x\x1fy"}}, EventInvalid, "control character"),
    (OrderShipped(number=1), {"headers": {"a\x1f": "y"}}, EventInvalid, "control character"),
    (OrderShipped(number=1), {"headers": {"a": "\x00"}}, EventInvalid, "control character"),
    (OrderShipped(number=1), {"headers": {"a": "\ud800"}}, EventInvalid, "surrogate"),
    (OrderShipped(number=1), {"headers": {"a": 1}}, EventInvalid, "must be str"),
    (OrderShipped(number=1), {"headers": {"": "1"}}, EventInvalid, "empty name"),
    (OrderShipped(number=1), {"key": object()}, EventInvalid, "key: "),
    (OrderShipped(number=1), {"key": "\ud800"}, EventInvalid, "key: "),
    (OrderShipped(number=1), {"key": "x" * 2001}, EventTooLarge, "key of .* has 2001 bytes"),
    (OrderShipped(number=1), {"using": "other"}, NotPublishable, "would never be sent"),
]


@pytest.mark.parametrize(("event", "options", "error", "says"), REFUSED)
def test_refusal_leaves_the_callers_transaction_usable(
    event: Any, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with transaction.atomic():
        with pytest.raises(error, match=says):
            publish(event, **options)
        order = Order.objects.create()

    assert Order.objects.filter(pk=order.pk).exists()
    assert not OutboxMessage.objects.exists()


def test_every_wrong_field_is_listed() -> None:
    with transaction.atomic(), pytest.raises(EventInvalid) as caught:
        publish(NOW_INVALID)

    assert [error.partition(":")[0] for error in caught.value.errors] == ["order_id", "total"]


def test_control_character_in_the_context_is_refused() -> None:
    with message_context(tenant_id="a\x1fb"), transaction.atomic(), pytest.raises(EventInvalid):
        publish(OrderShipped(number=1))


def test_one_refused_event_keeps_all_of_the_call_out() -> None:
    with transaction.atomic(), pytest.raises(EventInvalid):
        publish_many([OrderShipped(number=1), NOW_INVALID])

    assert not OutboxMessage.objects.exists()


def test_limit_counts_headers_and_key_too(settings: Any) -> None:
    settings.EVENTBUS = {"default": {"OUTBOX": {"MAX_EVENT_BYTES": 1000}}}

    with transaction.atomic():
        publish(OrderShipped(number=1))
        with pytest.raises(EventTooLarge):
            publish(OrderShipped(number=1), headers={"h": "x" * 900})
        with pytest.raises(EventTooLarge):
            publish(OrderShipped(number=1), key="x" * 900)


def test_deprecated_event_warns_at_the_callers_line() -> None:
    with transaction.atomic(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        publish(OrderNoted(number=1))

    assert [(w.category, w.filename) for w in caught] == [(DeprecationWarning, __file__)]
    assert "publish OrderPlaced with a note" in str(caught[0].message)


@pytest.mark.postgres_only
def test_id_order_is_publish_order_and_ids_are_made_by_the_database() -> None:
    with transaction.atomic():
        publish_many([OrderShipped(number=n) for n in range(5)])

    with connection.cursor() as cursor:
        cursor.execute("SELECT is_identity, identity_generation FROM information_schema.columns "
                       "WHERE table_name = 'eventbus_outbox' AND column_name = 'id'")  # fmt: skip
        assert cursor.fetchone() == ("YES", "ALWAYS")
    rows = OutboxMessage.objects.order_by("id")
    assert [json.loads(bytes(row.payload))["number"] for row in rows] == list(range(5))
