"""A record becomes deliveries to the handlers that take it, or the reason why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_eventbus.delivery.deliveries import Broken, Received, Skipped, SkipReason
from django_eventbus.delivery.pipeline import receive
from django_eventbus.delivery.registry import groups_of, handler
from django_eventbus.events.registry import upcaster
from django_eventbus.exceptions import Undecodable, UndecodableReason
from django_eventbus.models.dead_letter import DeadLetterReason
from django_eventbus.models.inbox import inbox_key
from django_eventbus.models.retry import lane_of
from tests.shop.apps import ShopConfig

from .shop import EVENT_ID, TOPIC, OrderPaid, OrderPlaced, OrderPlacedTwo, config, deliveries, delivery, group, record


def declare(*classes: type[Any], name: str = "shop.bill", **options: Any) -> None:
    code = compile(f"def {name.replace('.', '_')}(event, context): ...", name, "exec")
    scope: dict[str, Callable[..., Any]] = {}
    exec(code, {"__name__": "tests.shop.handlers"}, scope)
    (made,) = scope.values()
    handler(*classes, name=name, **options)(made)


def outcome(**options: Any) -> Any:
    settings = options.pop("settings", {})
    bus = config(**settings)
    return receive(record(**options), group(bus), bus)


def test_a_message_reaches_every_handler_of_its_event_and_no_other() -> None:
    declare(OrderPlaced, name="shop.bill")
    declare(OrderPaid, OrderPlaced, name="shop.ship")
    declare(OrderPaid, name="shop.thank")

    found = deliveries()

    assert [d.handler.name for d in found] == ["shop.bill", "shop.ship"]
    assert {d.event for d in found} == {OrderPlaced(order_id=42)}


def test_inbox_key_and_lane_are_those_of_handler_and_key() -> None:
    declare(OrderPlaced)

    made = delivery()

    assert made.inbox_keys == (inbox_key("shop.bill", "/shop/orders", EVENT_ID),)
    assert made.lane == lane_of("orders-dev", "shop.bill", TOPIC, b"42")


def test_without_order_or_without_a_key_each_delivery_is_a_lane_of_its_own() -> None:
    declare(OrderPlaced, name="shop.unordered", ordered=False)
    declare(OrderPlaced, name="shop.ordered")

    unordered, _ = deliveries()
    _, keyless = deliveries(record(key=None))

    assert unordered.lane == unordered.inbox_key
    assert keyless.lane == keyless.inbox_key


def test_a_renamed_handler_keeps_its_lanes_and_its_old_inbox_keys() -> None:
    declare(OrderPlaced, name="shop.new", aliases=("shop.oldest", "shop.older"))

    made = delivery()

    names = ("shop.new", "shop.oldest", "shop.older")
    assert made.inbox_keys == tuple(inbox_key(name, "/shop/orders", EVENT_ID) for name in names)
    assert made.lane == lane_of("orders-dev", "shop.oldest", TOPIC, b"42")


def test_a_dedupe_key_makes_different_messages_one() -> None:
    declare(OrderPlaced, dedupe_key=lambda event: event.order_id)

    first = delivery()
    second = delivery(record(message_id="another"))
    other = delivery(record(data={"order_id": 43}))

    assert first.inbox_key == second.inbox_key != other.inbox_key


@pytest.mark.parametrize("value", [lambda event: event.nonsense, lambda event: "no text \ud800"])
def test_a_dedupe_key_that_fails_fails_its_own_run_only(value: Any) -> None:
    declare(OrderPlaced, dedupe_key=value, name="shop.odd")
    declare(OrderPlaced, name="shop.bill")

    odd, good = deliveries()

    assert isinstance(odd.error, (AttributeError, UnicodeEncodeError))
    assert odd.inbox_key == inbox_key("shop.odd", "/shop/orders", EVENT_ID)
    assert good.error is None


def test_an_older_version_is_upcast_for_the_handler_of_the_newest() -> None:
    upcaster(OrderPlacedTwo, from_version=1)(lambda data: {**data, "total": 1, "currency": "EUR"})
    declare(OrderPlacedTwo)

    assert delivery().event == OrderPlacedTwo(order_id=42, total=1, currency="EUR")


def test_each_handler_gets_the_version_it_was_declared_for() -> None:
    upcaster(OrderPlacedTwo, from_version=1)(lambda data: {**data, "total": 1, "currency": "EUR"})
    declare(OrderPlaced, name="shop.one")
    declare(OrderPlacedTwo, name="shop.two")
    declare(OrderPlaced, OrderPlacedTwo, name="shop.both")

    found = {d.handler.name: type(d.event) for d in deliveries()}

    assert found == {"shop.one": OrderPlaced, "shop.two": OrderPlacedTwo, "shop.both": OrderPlaced}


def test_versions_restricts_what_a_handler_takes() -> None:
    upcaster(OrderPlacedTwo, from_version=1)(lambda data: {**data, "total": 1, "currency": "EUR"})
    declare(OrderPlacedTwo, versions=(2,))

    assert outcome().why is SkipReason.EXCLUDED_VERSION
    assert delivery(record(version="2", data={"order_id": 1, "total": 2, "currency": "EUR"})).event is not None


def test_a_version_that_no_handler_can_read_is_kept_for_an_operator() -> None:
    declare(OrderPlaced)

    broken = outcome(version="9")

    assert isinstance(broken, Broken)
    assert broken.reason is DeadLetterReason.UNDECODABLE
    assert isinstance(broken.error, Undecodable)
    assert broken.error.reason is UndecodableReason.MISSING_UPCASTER
    assert broken.envelope is not None


def test_a_record_without_a_version_is_of_the_only_one_there_is() -> None:
    declare(OrderPaid)

    assert delivery(record("desk.orders.order-paid", version=None)).event == OrderPaid(order_id=42)


def test_another_event_of_the_topic_is_skipped() -> None:
    declare(OrderPlaced)

    skipped = outcome(name="desk.orders.order-lost")

    assert isinstance(skipped, Skipped)
    assert (skipped.why, skipped.envelope.event_name if skipped.envelope else "") == (
        SkipReason.UNKNOWN_EVENT,
        "desk.orders.order-lost",
    )


def test_another_event_of_the_topic_is_kept_where_the_bus_says_so() -> None:
    declare(OrderPlaced)

    broken = outcome(name="desk.orders.order-lost", settings={"CONSUMER": {"UNKNOWN_EVENT": "dead_letter"}})

    assert isinstance(broken, Broken)
    assert broken.reason is DeadLetterReason.UNKNOWN_EVENT


def test_a_tombstone_is_skipped_whatever_its_headers_say() -> None:
    declare(OrderPlaced)
    tombstone = record()._replace(value=None, headers=[])

    skipped = receive(tombstone, group(), config())

    assert isinstance(skipped, Skipped)
    assert skipped.why is SkipReason.TOMBSTONE


@pytest.mark.parametrize(
    "damage",
    [
        {"value": b"{"},
        {"value": b'{"order_id": "x"}'},
        {"value": b"{}"},
        {"value": b"\xff"},
        {"specversion": "0.3"},
        {"message_id": None},
    ],
)
def test_what_cannot_be_decoded_is_broken_once_for_the_whole_group(damage: dict[str, Any]) -> None:
    declare(OrderPlaced, name="shop.bill")
    declare(OrderPlaced, name="shop.ship")

    broken = outcome(**damage)

    assert isinstance(broken, Broken)
    assert broken.reason is DeadLetterReason.UNDECODABLE
    again, elsewhere = outcome(**damage), outcome(**damage, offset=6)
    assert broken.inbox_key == again.inbox_key != elsewhere.inbox_key


def test_a_record_of_something_else_is_broken_not_raised() -> None:
    declare(OrderPlaced)

    broken = receive(record()._replace(headers=[]), group(), config())

    assert isinstance(broken, Broken)
    assert broken.envelope is None


def test_what_one_class_cannot_read_fails_its_handler_only() -> None:
    upcaster(OrderPlacedTwo, from_version=1)(lambda data: {"nothing": data})
    declare(OrderPlaced, name="shop.one")
    declare(OrderPlacedTwo, name="shop.two")

    good, bad = deliveries()

    assert (good.error, type(good.event)) == (None, OrderPlaced)
    assert isinstance(bad.error, Undecodable)


def test_a_waiting_delivery_is_for_its_handler_alone_also_under_a_former_name() -> None:
    declare(OrderPlaced, name="shop.bill", aliases=("shop.invoice",))
    declare(OrderPlaced, name="shop.ship")

    made = delivery(only="shop.invoice", attempt=3, is_replay=True)

    assert (made.handler.name, made.attempt, made.is_replay) == ("shop.bill", 3, True)


def test_a_waiting_delivery_whose_handler_is_gone_is_told_apart() -> None:
    declare(OrderPaid, name="shop.bill")
    declare(OrderPlaced, name="shop.ship")

    for gone in ("shop.bill", "shop.removed"):
        skipped = receive(record(), group(), config(), only=gone)
        assert isinstance(skipped, Skipped)
        assert skipped.why is SkipReason.NO_LONGER_HANDLED


def test_a_group_holds_all_handlers_of_its_apps_and_their_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(OrderPlaced, name="shop.bill")
    declare(OrderPaid, name="shop.ship")
    monkeypatch.setattr(ShopConfig, "eventbus_group", "the-shop", raising=False)
    monkeypatch.setattr(ShopConfig, "eventbus_retired_handlers", ("shop.gone",), raising=False)
    handler(OrderPlaced, name="elsewhere.audit")(lambda event: None)

    groups = groups_of(config())

    assert {name: g.handler_names for name, g in groups.items()} == {
        "orders-dev": ("elsewhere.audit",),
        "the-shop": ("shop.bill", "shop.ship"),
    }
    assert groups["the-shop"].topics == (TOPIC,)
    assert groups["the-shop"].retired == {"shop.gone"}


def test_a_group_reads_the_topics_of_all_versions_that_its_handlers_can_take() -> None:
    upcaster(OrderPlacedTwo, from_version="0.9")(lambda data: data)
    upcaster(OrderPlacedTwo, from_version=1)(lambda data: {**data, "total": 1, "currency": "EUR"})
    handler(OrderPlacedTwo, name="desk.newest")(lambda event: None)

    assert group().topics == tuple(f"dev.shop.public.orders.{version}" for version in ("0.9", "v1", "v2"))


@pytest.mark.parametrize(
    ("cls", "options", "version"), [(OrderPlaced, {}, "v1"), (OrderPlacedTwo, {"versions": (2,)}, "v2")]
)
def test_a_group_reads_no_topic_of_a_version_that_leads_nowhere_or_is_left_out(
    cls: type[Any], options: dict[str, Any], version: str
) -> None:
    upcaster(OrderPlacedTwo, from_version=1)(lambda data: {**data, "total": 1, "currency": "EUR"})
    declare(cls, **options)

    assert group().topics == (f"dev.shop.public.orders.{version}",)


def test_versions_from_the_wire_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(OrderPlaced)
    monkeypatch.setattr("django_eventbus.delivery.groups.MOST_PLANS", 10)
    one = group()

    for version in range(100):
        receive(record(version=f"x{version}"), one, config())

    assert len(one._plans) == 10
    assert isinstance(receive(record(), one, config()), Received)
