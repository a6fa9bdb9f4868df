from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, ClassVar

import msgspec
import pytest

from django_eventbus.events.contract import AwareDatetime, PartitionKey, event, external_event
from django_eventbus.events.inspection import Problem, find_problems
from django_eventbus.events.registry import events
from tests.events.conftest import Bus
from tests.shop.models import Order

NAME = "paper.orders.order-placed"


class Unknown:
    pass


@dataclass(frozen=True)
class Node:
    owner: Order
    at: datetime
    children: list[Node]


def problems(*buses: Bus) -> list[Problem]:
    declared_here = [contract for contract in events.all() if contract.cls.__module__ == __name__]
    return find_problems(declared_here, buses or (Bus(),))


def ids(*buses: Bus) -> list[str]:
    return [problem.id for problem in problems(*buses)]


def test_a_sound_declaration_has_no_problem() -> None:
    @event(NAME, entity="order", key="order_id")
    class OrderPlaced:
        order_id: int
        at: AwareDatetime
        maybe: AwareDatetime | None = None
        total: Decimal = Decimal(0)
        table: ClassVar[type[Order]] = Order

    assert problems() == []


def test_a_name_that_stays_unresolved() -> None:
    @event(NAME, entity="order")
    class OrderPlaced:
        line: Nowhere  # type: ignore[name-defined]  # noqa: F821

    assert ids() == ["E002"]
    assert "Nowhere" in problems()[0].message
    assert problems()[0].obj is OrderPlaced


def test_a_type_that_turns_out_wrong_when_its_name_resolves() -> None:
    @event(NAME, entity="order")
    class OrderPlaced:
        line: Later  # type: ignore[name-defined]  # noqa: F821

    globals()["Later"] = Decimal | str
    try:
        assert ids() == ["E001"]
    finally:
        del globals()["Later"]


def test_a_type_that_json_cannot_carry() -> None:
    @event(NAME, entity="order")
    class OrderPlaced:
        things: list[Unknown] | None

    assert [(problem.id, "'things' holds Unknown" in problem.message) for problem in problems()] == [("E001", True)]


def test_a_django_model_in_a_field() -> None:
    @event(NAME, entity="order")
    class OrderPlaced:
        orders: dict[str, Order]

    assert [(problem.id, "model Order" in problem.message) for problem in problems()] == [("E003", True)]


def test_two_classes_for_one_name_and_version() -> None:
    @event(NAME, entity="order")
    class OrderPlaced:
        order_id: int

    @external_event(NAME, entity="order", domain="shop")
    class OrderCopied:
        order_id: int

    assert ids() == ["E004"]
    assert "OrderPlaced" in problems()[0].message
    assert "OrderCopied" in problems()[0].message


@pytest.mark.parametrize("buses", [(Bus(),), (Bus(partition_key_fields=("at",)),)])
def test_a_key_that_is_a_time(buses: tuple[Bus, ...]) -> None:
    @event(NAME, entity="order", key="at" if not buses[0].partition_key_fields else None)
    class OrderPlaced:
        at: AwareDatetime

    assert ids(*buses) == ["E005"]


def test_a_marked_key_that_is_a_time() -> None:
    @event(NAME, entity="order")
    class OrderPlaced:
        at: Annotated[AwareDatetime | None, PartitionKey()] = None

    assert ids() == ["E005"]


def test_an_illegal_topic_is_reported_once_for_all_buses() -> None:
    @event(NAME, entity="order", domain="no domain")
    class OrderPlaced:
        order_id: int

    assert ids(Bus(), Bus(service="other")) == ["E006"]


def test_a_bare_datetime() -> None:
    @event(NAME, entity="order")
    class OrderPlaced:
        at: list[datetime]
        described: Annotated[datetime, msgspec.Meta(description="when")]

    assert ids() == ["W001", "W001"]


@pytest.mark.parametrize("name", ["CreateOrder", "ShipOrderCommand", "CancelOrderEvent", "SendMailV2"])
def test_a_class_that_reads_as_a_command(name: str) -> None:
    event(NAME, entity="order")(type(name, (), {"__annotations__": {}, "__module__": __name__}))

    assert ids() == ["W002"]


@pytest.mark.parametrize(
    "name",
    ["OrderPlaced", "OrderPlacedEvent", "InvoicePaidV2", "MailSent", "PlaceBooked", "StockLow", "Order", "SetMade"],
)
def test_a_class_that_reads_as_a_fact(name: str) -> None:
    event(NAME, entity="order")(type(name, (), {"__annotations__": {}, "__module__": __name__}))

    assert ids() == []


@pytest.mark.parametrize("entity", ["uuid", "Guid", "int"])
def test_an_entity_that_is_a_type(entity: str) -> None:
    @event(NAME, entity=entity)
    class OrderPlaced:
        order_id: int

    assert ids() == ["W003"]


def test_topics_that_collide() -> None:
    @event("shop.orders.a-placed", topic="/main.orders")
    class OrderPlaced:
        order_id: int

    @event("shop.orders.b-placed", topic="/main_orders")
    class OtherPlaced:
        order_id: int

    assert ids() == ["W004"]


@pytest.mark.parametrize("name", ["order-placed", "Shop.Orders.OrderPlaced", "shop..order"])
def test_a_name_that_departs_from_the_form(name: str) -> None:
    @event(name, entity="order")
    class OrderPlaced:
        order_id: int

    assert ids() == ["W005"]


def test_what_another_service_chose_is_not_criticised() -> None:
    @external_event("BookWorm.Contracts.PlaceOrder", entity="order", domain="shop")
    class PlaceOrder:
        at: datetime

    assert ids() == []


def test_nested_types_are_looked_into_without_end() -> None:
    @event(NAME, entity="order")
    class OrderPlaced:
        tree: Node | None = None

    assert ids() == ["E003", "W001"]
