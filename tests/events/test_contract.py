from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar
from uuid import UUID

import pytest

from django_eventbus.events.contract import event, external_event
from django_eventbus.events.registry import events
from django_eventbus.exceptions import ContractError, NotAnEvent

T = TypeVar("T")
NAME = "paper.orders.order-placed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantScoped:
    tenant_id: UUID


@dataclass(frozen=True, slots=True)
class Line:
    sku: str
    quantity: int = 1


@event("shop.trees.grown", entity="tree")
class Tree:
    left: Tree | None = None
    name: str


def test_an_event_is_a_frozen_slotted_keyword_only_dataclass() -> None:
    @event(NAME, entity="order")
    class OrderPlaced:
        order_id: int
        note: str = "none"

    placed = OrderPlaced(order_id=1)

    assert placed == OrderPlaced(order_id=1, note="none")
    assert not hasattr(placed, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        placed.order_id = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        OrderPlaced(1)  # type: ignore[call-arg]


def test_events_can_be_copied_pickled_and_replaced() -> None:
    grown = Tree(name="oak", left=Tree(name="ash"))

    assert pickle.loads(pickle.dumps(grown)) == copy.deepcopy(grown) == grown
    assert dataclasses.replace(grown, name="elm") == Tree(name="elm", left=Tree(name="ash"))


def test_an_event_inherits_the_fields_of_frozen_bases() -> None:
    @event(NAME, entity="order")
    class OrderPlaced(TenantScoped):
        order_id: int

    placed = OrderPlaced(tenant_id=UUID(int=1), order_id=2)

    assert events.contract_of(placed).codec.decode(events.contract_of(placed).codec.encode(placed)) == placed


def test_super_and_class_work_in_methods() -> None:
    class Greeter:
        def greet(self) -> str:
            return "hello"

    @event(NAME, entity="order")
    class OrderPlaced(Greeter):
        order_id: int

        def greet(self) -> str:
            return f"{super().greet()} {self.order_id}"

        @property
        def own_class(self) -> type:
            return __class__  # type: ignore[name-defined,no-any-return]

        @classmethod
        def make(cls) -> OrderPlaced:
            assert __class__ is cls  # type: ignore[name-defined]
            made: OrderPlaced = cls(order_id=3)
            return made

    assert OrderPlaced.make().greet() == "hello 3"
    assert OrderPlaced(order_id=1).own_class is OrderPlaced


def test_a_frozen_dataclass_becomes_an_event_as_it_is() -> None:
    @dataclass(frozen=True)
    class OrderPlaced:
        order_id: int

    assert event(NAME, entity="order")(OrderPlaced) is OrderPlaced
    assert events.contract_of(OrderPlaced(1)).name == NAME


@pytest.mark.parametrize(
    ("version", "text", "segment"),
    [(1, "1", "v1"), (0, "0", "v0"), ("1", "1", "1"), ("1.0", "1.0", "1.0"), ("", "", "")],
)
def test_a_version_is_compared_as_text_and_named_in_the_topic(version: int | str, text: str, segment: str) -> None:
    @event(NAME, version=version, entity="order")
    class OrderPlaced:
        order_id: int

    contract = events.contract_of(OrderPlaced)

    assert (contract.version, contract.version_segment) == (text, segment)


@pytest.mark.parametrize(
    ("subject", "text"),
    [("orders/{order_id}", "orders/7"), ("{order_id:03}", "007"), (lambda e: f"o{e.order_id}", "o7"), (None, None)],
)
def test_subject(subject: Any, text: str | None) -> None:
    @event(NAME, entity="order", subject=subject)
    class OrderPlaced:
        order_id: int

    found = events.contract_of(OrderPlaced).subject

    assert (None if found is None else found(OrderPlaced(order_id=7))) == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of entity"),
        ({"entity": "order", "topic": "orders"}, "exactly one of entity"),
        ({"topic": ""}, "names no topic"),
        ({"topic": "/"}, "names no topic"),
        ({"entity": 5}, "names no topic"),
        ({"topic": "or ders"}, "no legal name"),
        ({"topic": "/" + "a" * 250}, "250 characters"),
        ({"entity": "order", "version": True}, "version=True"),
        ({"entity": "order", "version": -1}, "version=-1"),
        ({"entity": "order", "version": "1 0"}, "version='1 0'"),
        ({"entity": "order", "subject": "{nope}"}, "'nope', which is not one of its fields"),
        ({"entity": "order", "subject": "{"}, "no format string"),
        ({"entity": "order", "pluralise": True}, "Did you mean 'pluralize'"),
    ],
)
def test_a_wrong_parameter_is_refused_at_definition(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):

        @event(NAME, **options)
        class OrderPlaced:
            order_id: int


@pytest.mark.parametrize("name", ["", "with space", "größe", "tab\t", None])
def test_a_name_that_cannot_travel_is_refused_at_definition(name: Any) -> None:
    with pytest.raises(ContractError, match="no event name"):

        @event(name, entity="order")
        class OrderPlaced:
            order_id: int


class Two(Generic[T]):
    pass


def test_what_cannot_be_carried_is_refused_at_definition() -> None:
    class Default:
        lines: list[int] = []

    class Init:
        secret: InitVar[int]

    class NotInit:
        late: int = field(init=False, default=1)

    class Generically(Generic[T]):
        value: int

    class Cached:
        value: int

        @cached_property
        def slow(self) -> int:
            return self.value

    class Several:
        value: UUID | str

    class Dataclasses:
        value: Line | TenantScoped

    @dataclass
    class Mutable:
        value: int

    class Below(Mutable):
        value: int

    for cls, message in (
        (Default, "mutable default"),
        (Init, "InitVar"),
        (NotInit, "init=False"),
        (Generically, "generic"),
        (Cached, "cached_property"),
        (Several, "more than one str-like type"),
        (Dataclasses, "more than one dataclass"),
        (Mutable, "not frozen"),
        (Below, "non-frozen"),
    ):
        with pytest.raises(ContractError, match=message):
            event(NAME, entity="order")(cls)
    assert events.versions(NAME) == []


def test_a_forward_reference_waits_for_its_name() -> None:
    @event(NAME, entity="order")
    class OrderPlaced:
        line: Later  # type: ignore[name-defined]  # noqa: F821

    globals()["Later"] = Line
    try:
        codec = events.contract_of(OrderPlaced).codec
        assert codec.decode(b'{"line": {"sku": "a"}}').line == Line("a")
    finally:
        del globals()["Later"]


def test_an_undecorated_subclass_is_no_event() -> None:
    @event(NAME, entity="order")
    class OrderPlaced:
        order_id: int

    class RushOrderPlaced(OrderPlaced):
        pass

    with pytest.raises(NotAnEvent, match=r"RushOrderPlaced inherits from the event .*OrderPlaced"):
        events.contract_of(RushOrderPlaced(order_id=1))


def test_a_decorated_subclass_is_an_event_of_its_own() -> None:
    @event(NAME, entity="order")
    class OrderPlaced:
        order_id: int

    @event("shop.orders.rush-order-placed", entity="order")
    class RushOrderPlaced(OrderPlaced):
        hours: int

    assert events.contract_of(RushOrderPlaced(order_id=1, hours=2)).name == "shop.orders.rush-order-placed"


@pytest.mark.parametrize("thing", [1, "text", None, Line("a"), Line])
def test_what_is_no_event_says_what_to_do(thing: object) -> None:
    with pytest.raises(NotAnEvent, match="Put @event"):
        events.contract_of(thing)


def test_an_external_event_names_its_owners_domain() -> None:
    with pytest.raises(ContractError, match="domain="):

        @external_event("accounting.business-day-ended", entity="business-day")
        class BusinessDayEnded:
            market: str


@pytest.mark.parametrize("options", [{"entity": "day", "domain": "accounting"}, {"topic": "/accounting.days"}])
def test_an_external_event_is_marked_as_such(options: Any) -> None:
    @external_event("accounting.business-day-ended", **options)
    class BusinessDayEnded:
        market: str

    assert events.contract_of(BusinessDayEnded).is_external
