from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_eventbus.conf.identity import to_snake
from django_eventbus.events.contract import EventContract, event
from django_eventbus.events.naming import colliding_topics, to_kebab, topic_of, topic_problem
from django_eventbus.events.registry import events
from django_eventbus.exceptions import ConfigurationError, ContractError
from tests.events.conftest import Bus


def declared(name: str = "shop.orders.order-placed", /, **options: Any) -> EventContract:
    @event(name, **options)
    class OrderPlaced:
        order_id: int

    return events.contract_of(OrderPlaced)


@pytest.mark.parametrize(
    ("options", "bus", "topic"),
    [
        ({"topic": "test-topic", "domain": "test-domain"}, Bus(), "dev.test-domain.public.test-topic.v1"),
        (
            {"topic": "test-topic", "domain": "test-domain", "internal": True},
            Bus(),
            "dev.test-domain.internal.test-topic.v1",
        ),
        ({"entity": "customer", "domain": "sales"}, Bus(), "dev.sales.public.customers.v1"),
        (
            {"topic": "test-topic", "domain": "test-domain", "version": "v2"},
            Bus(),
            "dev.test-domain.public.test-topic.v2",
        ),
        ({"topic": "test-topic", "domain": "test-domain", "version": ""}, Bus(), "dev.test-domain.public.test-topic"),
        ({"topic": "test-topic"}, Bus(), "dev.tests.public.test-topic.v1"),
        ({"topic": "test-topic"}, Bus(domain="Momentum"), "dev.momentum.public.test-topic.v1"),
        ({"entity": "cashier", "domain": "appdomain"}, Bus(), "dev.appdomain.public.cashiers.v1"),
        (
            {"topic": "payments", "domain": "invoicing", "internal": True, "version": ""},
            Bus(environment="Production"),
            "prod.invoicing.internal.payments",
        ),
        (
            {"entity": "email", "domain": "notifications", "version": 2},
            Bus(environment="Test"),
            "test.notifications.public.emails.v2",
        ),
        ({"entity": "order", "domain": "shop"}, Bus(environment="Staging"), "stag.shop.public.orders.v1"),
        ({"entity": "order", "domain": "shop"}, Bus(environment="local"), "loca.shop.public.orders.v1"),
        ({"entity": "order", "domain": "shop", "version": "1.0"}, Bus(), "dev.shop.public.orders.1.0"),
        ({"entity": "OrderLine", "domain": "shop"}, Bus(), "dev.shop.public.order-lines.v1"),
        ({"entity": "order", "domain": "shop", "pluralize": False}, Bus(), "dev.shop.public.order.v1"),
        ({"topic": "order", "domain": "shop", "pluralize": True}, Bus(), "dev.shop.public.orders.v1"),
        ({"topic": "Orders", "domain": "AppDomain"}, Bus(), "dev.appdomain.public.orders.v1"),
    ],
)
def test_topic_by_the_default_rule(options: dict[str, Any], bus: Bus, topic: str) -> None:
    assert topic_of(declared(**options), bus) == topic


def test_a_leading_slash_bypasses_the_namer() -> None:
    contract = declared(topic="/main.orders.order-Created")

    assert topic_of(contract, Bus(namer="no.such.namer")) == "main.orders.order-Created"


@pytest.mark.parametrize(
    ("options", "topic"),
    [
        ({"entity": "invoice"}, "orders.invoice.v1"),
        ({"entity": "invoice", "pluralize": True}, "orders.invoices.v1"),
        ({"topic": "events", "version": ""}, "orders.events"),
    ],
)
def test_service_aggregate_namer(options: dict[str, Any], topic: str) -> None:
    bus = Bus(namer="django_eventbus.events.naming.ServiceAggregateNamer")

    assert topic_of(declared(**options), bus) == topic


book_names: Any = None


def test_service_event_namer_with_a_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_eventbus.events.naming import ServiceEventNamer

    monkeypatch.setattr(f"{__name__}.book_names", ServiceEventNamer("bookworm"))

    assert topic_of(declared(entity="order"), Bus(namer=f"{__name__}.book_names")) == "bookworm.orders.order-placed"


def test_service_event_namer_without_a_prefix_takes_the_domain() -> None:
    bus = Bus(namer="django_eventbus.events.naming.ServiceEventNamer")

    assert topic_of(declared(entity="order", domain="shop"), bus) == "shop.orders.order-placed"


@pytest.mark.parametrize("path", ["no.such.namer", "tests.events.test_naming.nothing", "tests.events.test_naming.NOT"])
def test_a_namer_that_is_none_is_named_with_its_setting(path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"NAMER: .*cannot be"):
        topic_of(declared(entity="order"), Bus(namer=path))


NOT = "callable"


def test_an_app_names_the_domain_of_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.apps import apps

    app = apps.get_app_config("shop")
    monkeypatch.setattr(app, "eventbus_domain", "store", raising=False)
    contract = declared(entity="order")
    monkeypatch.setattr(contract.cls, "__module__", f"{app.name}.events")

    assert topic_of(contract, Bus(domain="other")) == "dev.store.public.orders.v1"


@pytest.mark.parametrize(
    ("topic", "is_legal"),
    [
        ("dev.shop.public.orders.v1", True),
        ("a" * 249, True),
        ("a" * 250, False),
        ("orders/new", False),
        ("größe", False),
        ("", False),
        (".", False),
        ("..", False),
        ("orders\n", False),
    ],
)
def test_topics_that_kafka_accepts(topic: str, is_legal: bool) -> None:
    assert (topic_problem(topic) is None) == is_legal


def test_an_illegal_topic_is_refused_with_the_class_that_causes_it() -> None:
    with pytest.raises(ContractError, match=r"OrderPlaced \('shop.orders.order-placed'.*250 characters|no legal name"):
        topic_of(declared(entity="order", domain="no domain"), Bus())


def test_topics_that_differ_in_dot_and_underscore_collide() -> None:
    assert colliding_topics(["a.b", "a_b", "a-b", "c.d", "a.b"]) == [("a.b", "a_b")]


@pytest.mark.parametrize(
    ("name", "kebab"),
    [
        ("HelloWorld", "hello-world"),
        ("APIName", "api-name"),
        ("AppDomain.BackOffice", "app-domain.back-office"),
        ("order_line", "order-line"),
        ("Order2Line", "order2-line"),
    ],
)
def test_kebab_case(name: str, kebab: str) -> None:
    assert to_kebab(name) == kebab


@pytest.mark.parametrize(
    ("name", "snake"),
    [("IOController", "io_controller"), ("CustomerManagement", "customer_management"), ("ECommerce", "e_commerce")],
)
def test_snake_case(name: str, snake: str) -> None:
    assert to_snake(name) == snake


@given(st.from_regex(r"[A-Za-z0-9 _.-]{0,30}", fullmatch=True))
def test_kebab_and_snake_are_stable_and_split_at_the_same_places(name: str) -> None:
    assert to_kebab(to_kebab(name)) == to_kebab(name)
    assert to_snake(name).replace("_", "-") == to_kebab(name)
