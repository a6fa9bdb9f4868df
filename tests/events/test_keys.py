from __future__ import annotations

import enum
from datetime import date
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import confluent_kafka
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from django_eventbus.events.contract import PartitionKey, event
from django_eventbus.events.keys import join_key, key_text, murmur2, shard_of
from django_eventbus.events.registry import events
from django_eventbus.exceptions import ContractError
from tests.events.conftest import Bus

ORDER = UUID("123e4567-e89b-12d3-a456-426614174000")


class Size(enum.Enum):
    LARGE = "large"


def key_of(instance: object, bus: Bus | None = None) -> str | None:
    return events.contract_of(instance).key(instance, bus or Bus())


def test_fields_marked_without_order_sort_by_name() -> None:
    @event("shop.orders.placed", entity="order")
    class Placed:
        zone: Annotated[str, PartitionKey()]
        area: Annotated[str, PartitionKey()]

    assert key_of(Placed(zone="key2", area="key1")) == "key1|key2"


def test_marked_fields_sort_by_order_first() -> None:
    @event("shop.orders.placed", entity="order")
    class Placed:
        a: Annotated[str, PartitionKey(order=1)]
        b: Annotated[str, PartitionKey(order=0)]
        c: Annotated[str, PartitionKey(order=2)]

    assert key_of(Placed(a="second", b="first", c="third")) == "first|second|third"


@pytest.mark.parametrize("empty", [None, ""])
def test_none_and_empty_text_give_the_empty_part(empty: str | None) -> None:
    @event("shop.orders.placed", entity="order")
    class Placed:
        a: Annotated[str | None, PartitionKey(order=0)]
        b: Annotated[str, PartitionKey(order=1)]

    assert key_of(Placed(a=empty, b="key2")) == "|key2"


def test_values_are_their_json_text_without_quotes() -> None:
    @event("shop.orders.placed", entity="order")
    class Placed:
        order_id: Annotated[UUID, PartitionKey(order=0)]
        line: Annotated[int, PartitionKey(order=1)]

    assert key_of(Placed(order_id=ORDER, line=42)) == f"{ORDER}|42"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ('say "hi"', 'say "hi"'),
        (7, "7"),
        (True, "true"),
        (ORDER, str(ORDER)),
        (Decimal("1.50"), "1.50"),
        (1.5, "1.5"),
        (Size.LARGE, "large"),
        (date(2026, 1, 2), "2026-01-02"),
        (None, ""),
    ],
)
def test_text_of_a_key(value: object, text: str) -> None:
    assert key_text(value) == text


def test_an_event_without_key_uses_its_id() -> None:
    @event("shop.orders.placed", entity="order")
    class Placed:
        order_id: int

    assert key_of(Placed(order_id=1)) is None


def test_a_declared_field_wins_over_marks_and_method() -> None:
    @event("shop.orders.placed", entity="order", key="a")
    class Placed:
        a: str
        b: Annotated[str, PartitionKey()]

        def partition_key(self) -> str:
            return "method"

    assert key_of(Placed(a="declared", b="marked")) == "declared"


def test_marks_win_over_the_method() -> None:
    @event("shop.orders.placed", entity="order")
    class Placed:
        b: Annotated[str, PartitionKey()]

        def partition_key(self) -> str:
            return "method"

    assert key_of(Placed(b="marked")) == "marked"


def test_the_method_wins_over_the_rule_of_the_bus() -> None:
    @event("shop.orders.placed", entity="order")
    class Placed:
        b: str

        def partition_key(self) -> str:
            return f"method {self.b}"

    assert key_of(Placed(b="x"), Bus(partition_key_fields=("b",))) == "method x"


def test_the_bus_names_the_key_of_events_that_declare_none() -> None:
    @event("shop.orders.placed", entity="order")
    class Placed:
        tenant_id: int

    assert key_of(Placed(tenant_id=5), Bus(partition_key_fields=("order_id", "tenant_id"))) == "5"


def test_a_field_that_is_called_partition_key_is_no_method() -> None:
    @event("shop.orders.placed", entity="order")
    class Placed:
        partition_key: str

    assert key_of(Placed(partition_key="x")) is None


@pytest.mark.parametrize(
    ("declared", "key"),
    [
        ("a", "x|y"),
        (("a",), "x|y"),
        (("a", "b"), r"x\|y|z"),
        (lambda e: e.b * 2, "zz"),
        (lambda e: (e.a, e.b), r"x\|y|z"),
    ],
)
def test_a_declared_key(declared: Any, key: str) -> None:
    @event("shop.orders.placed", entity="order", key=declared)
    class Placed:
        a: str
        b: str

    assert key_of(Placed(a="x|y", b="z")) == key


def test_composite_keys_stay_unescaped_where_the_bus_says_so() -> None:
    @event("shop.orders.placed", entity="order", key=("a", "b"))
    class Placed:
        a: str
        b: str

    assert key_of(Placed(a="x|y", b="z"), Bus(escape_keys=False)) == "x|y|z"


@pytest.mark.parametrize(("key", "named"), [("nope", "nope"), (("a", "nope"), "nope"), ((), "no field")])
def test_a_key_that_is_no_field_is_refused_at_definition(key: Any, named: str) -> None:
    with pytest.raises(ContractError, match=named):

        @event("shop.orders.placed", entity="order", key=key)
        class Placed:
            a: str


@given(
    st.lists(st.text(alphabet="a|\\"), min_size=2, max_size=4),
    st.lists(st.text(alphabet="a|\\"), min_size=2, max_size=4),
)
@example(["a|b", "c"], ["a", "b|c"])
@example(["a\\", "b"], ["a", "\\b"])
def test_different_composite_keys_never_collide(one: list[str], other: list[str]) -> None:
    assert (join_key(one, escape=True) == join_key(other, escape=True)) == (one == other)


@given(st.binary(max_size=64), st.integers(min_value=1, max_value=2**31 - 1))
def test_murmur2_is_kafkas(key: bytes, partitions: int) -> None:
    assert (murmur2(key) & 0x7FFFFFFF) % partitions == confluent_kafka.murmur2(key, partitions)


def test_the_shard_of_a_key_never_changes() -> None:
    assert [shard_of(key) for key in (b"", b"21", b"order-1", str(ORDER).encode())] == [25, 44, 54, 8]
