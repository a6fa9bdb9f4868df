"""What does a project get that sets nothing, or little?"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from django_eventbus.conf import (
    KAFKA_TRANSPORT,
    LOCAL_TRANSPORT,
    MEMORY_TRANSPORT,
    load,
    service_name,
    short_environment,
    source_name,
)


@pytest.mark.parametrize("raw", [None, {}, {"default": {}}])
def test_without_settings_there_is_one_bus_with_the_local_transport(raw: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = "my_shop.urls"

    config = load(raw)["default"]

    assert config.alias == "default"
    assert config.transport == LOCAL_TRANSPORT
    assert (config.service, config.environment, config.group) == ("my-shop", "dev", "my-shop-dev")
    assert config.source == "/my-shop"
    assert config.outbox.batch_size == 1000
    assert config.consumer.batch_size == 50
    assert config.inbox.retention == timedelta(days=30)
    assert config.retry.delays == tuple(timedelta(seconds=seconds) for seconds in (1, 5, 30, 300))


def test_the_service_is_named_after_the_settings_module_where_there_is_no_urlconf(settings: Any) -> None:
    del settings.ROOT_URLCONF

    assert load(None)["default"].service == "tests"


@pytest.mark.parametrize(
    ("short", "path"), [("kafka", KAFKA_TRANSPORT), ("local", LOCAL_TRANSPORT), ("memory", MEMORY_TRANSPORT)]
)
def test_a_transport_has_a_short_name(short: str, path: str) -> None:
    config = load({"default": {"TRANSPORT": short, "OPTIONS": {"bootstrap.servers": "kafka:9092"}}})["default"]

    assert config.transport == path


def test_a_transport_of_ones_own_is_a_dotted_path() -> None:
    assert load({"default": {"TRANSPORT": "shop.bus.Pigeons"}})["default"].transport == "shop.bus.Pigeons"


@pytest.mark.parametrize("debug", [True, False])
def test_topics_are_created_by_default_only_in_debug(debug: bool, settings: Any) -> None:
    settings.DEBUG = debug

    assert load(None)["default"].create_topics is debug
    assert load({"default": {"CREATE_TOPICS": not debug}})["default"].create_topics is not debug


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("Development", "dev"),
        ("Production", "prod"),
        ("Test", "test"),
        ("Staging", "stag"),
        ("local", "loca"),
        ("prod", "prod"),
        ("QA", "qa"),
    ],
)
def test_an_environment_is_shortened(name: str, short: str) -> None:
    config = load({"default": {"ENVIRONMENT": name, "SERVICE": "orders"}})["default"]

    assert short_environment(name) == short
    assert (config.environment, config.group) == (short, f"orders-{short}")


@pytest.mark.parametrize(
    ("domain", "service", "source"),
    [
        ("ECommerce", "order-service", "/e_commerce/order-service"),
        ("CustomerManagement", "customer-api", "/customer_management/customer-api"),
        ("APIName", "x", "/api_name/x"),
        ("IOController", "x", "/io_controller/x"),
        ("shop", "orders", "/shop/orders"),
        ("test-domain", "orders", "/test_domain/orders"),
        (None, "orders", "/orders"),
    ],
)
def test_the_source_is_made_of_domain_and_service(domain: str | None, service: str, source: str) -> None:
    raw = {"SERVICE": service} | ({"DOMAIN": domain} if domain else {})

    assert source_name(domain=domain, service=service) == source
    assert load({"default": raw})["default"].source == source


@pytest.mark.parametrize(
    ("package", "name"), [("ECommerce.OrderService", "ecommerce-orderservice"), ("my_shop", "my-shop"), ("_x_", "x")]
)
def test_a_package_name_becomes_a_service_name(package: str, name: str) -> None:
    assert service_name(package) == name


def test_what_is_set_wins_over_what_is_computed() -> None:
    raw = {"SERVICE": "orders", "SOURCE": "urn:orders", "GROUP": "mine"}

    config = load({"default": raw})["default"]

    assert (config.source, config.group) == ("urn:orders", "mine")


@pytest.mark.parametrize("duration", [90, 90.0, timedelta(seconds=90)])
def test_a_duration_is_a_timedelta_or_seconds(duration: Any) -> None:
    raw = {"default": {"INBOX": {"RETENTION": duration}, "RETRY": {"DELAYS": [duration]}}}

    config = load(raw)["default"]

    assert config.inbox.retention == timedelta(seconds=90)
    assert config.retry.delays == (timedelta(seconds=90),)


def test_each_alias_is_a_bus_of_its_own() -> None:
    configs = load({"default": {"SERVICE": "orders"}, "audit": {"SERVICE": "audit", "OUTBOX": {"RELAYS": 2}}})

    assert configs["audit"].alias == "audit"
    assert (configs["default"].outbox.relays, configs["audit"].outbox.relays) == (1, 2)


def test_there_are_few_keys() -> None:
    config = load(None)["default"]

    sections = [value for value in vars_of(config).values() if dataclasses.is_dataclass(value)]

    assert len(vars_of(config)) - 1 - len(sections) + sum(len(vars_of(section)) for section in sections) <= 42


def vars_of(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
