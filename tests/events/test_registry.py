from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from django_eventbus.events.contract import event
from django_eventbus.events.registry import events, upcaster
from django_eventbus.exceptions import ContractError, NotAnEvent, Undecodable, UndecodableReason

NAME = "paper.orders.order-placed"


def declare(version: int | str, *, name: str = NAME) -> type[Any]:
    @event(name, version=version, entity="order")
    class OrderPlaced:
        total: Decimal
        trail: list[str] = ()  # type: ignore[assignment]

    OrderPlaced.__qualname__ = f"OrderPlaced{version}"
    return OrderPlaced


def leave_trail(cls: type[Any], from_version: int | str) -> None:
    @upcaster(cls, from_version=from_version)
    def step(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "trail": [*data.get("trail", []), f"from {from_version}"]}


def reason_of(name: str, version: str, data: bytes | None = b'{"total": 1}', **options: Any) -> UndecodableReason:
    with pytest.raises(Undecodable) as caught:
        events.decode(name, version, data, **options)
    return caught.value.reason


def test_a_message_goes_to_the_class_of_its_version() -> None:
    first, second = declare(1), declare(2)

    assert type(events.decode(NAME, "1", b'{"total": 1}')) is first
    assert type(events.decode(NAME, "2", b'{"total": 1}')) is second


def test_versions_are_listed_oldest_first() -> None:
    for version in (10, 2, "", "1.0", 1):
        declare(version)

    assert [contract.version for contract in events.versions(NAME)] == ["", "1", "1.0", "2", "10"]
    assert events.versions("shop.unknown") == []


def test_versions_are_compared_as_text() -> None:
    first = declare(1)

    assert events.find(NAME, "1") is events.contract_of(first)
    assert events.find(NAME, "v1") is None


def test_a_record_without_version_is_taken_as_the_only_one_known() -> None:
    third = declare(3)

    assert type(events.decode(NAME, "", b'{"total": 1}')) is third


def test_a_record_without_version_is_taken_as_the_first_where_several_are_known() -> None:
    first, _ = declare(1), declare(2)

    assert type(events.decode(NAME, "", b'{"total": 1}')) is first


def test_a_record_without_version_is_upcast_from_the_first() -> None:
    second = declare(2)
    leave_trail(second, 1)

    assert events.decode(NAME, "", b'{"total": 1}').trail == ["from 1"]


def test_a_class_without_version_takes_records_without_one() -> None:
    unversioned, _ = declare(""), declare(1)

    assert type(events.decode(NAME, "", b'{"total": 1}')) is unversioned


def test_upcasters_of_one_class_chain_in_the_order_of_versions() -> None:
    third = declare(3)
    leave_trail(third, 2)
    leave_trail(third, 1)

    assert events.decode(NAME, "1", b'{"total": 1}').trail == ["from 1", "from 2"]
    assert events.decode(NAME, "2", b'{"total": 1}').trail == ["from 2"]
    assert events.decode(NAME, "3", b'{"total": 1}').trail == ()


def test_the_next_version_is_the_next_number_not_the_next_text() -> None:
    eleventh = declare(11)
    for version in (10, 1, 2):
        leave_trail(eleventh, version)

    assert events.decode(NAME, "1", b'{"total": 1}').trail == ["from 1", "from 2", "from 10"]


def test_upcasters_chain_across_classes_up_to_the_newest() -> None:
    second, third = declare(2), declare(3)
    leave_trail(second, 1)
    leave_trail(third, 2)

    decoded = events.decode(NAME, "1", b'{"total": 1}')

    assert type(decoded) is third
    assert decoded.trail == ["from 1", "from 2"]


def test_a_handler_of_an_older_class_gets_that_class() -> None:
    second, third = declare(2), declare(3)
    leave_trail(second, 1)
    leave_trail(third, 2)

    assert type(events.decode(NAME, "1", b'{"total": 1}', into=second)) is second
    assert events.can_decode(NAME, "1", into=second)
    assert not events.can_decode(NAME, "3", into=second)
    assert not events.can_decode("shop.other", "1", into=second)


def test_a_way_that_leads_nowhere_is_no_way() -> None:
    second = declare(2)
    leave_trail(second, 1)

    assert reason_of(NAME, "7") is UndecodableReason.MISSING_UPCASTER
    assert reason_of("shop.unknown", "1") is UndecodableReason.MISSING_UPCASTER


def test_upcasters_round_nothing() -> None:
    leave_trail(declare(2), 1)

    assert str(events.decode(NAME, "1", b'{"total": 0.10000000000000000010}').total) == "0.10000000000000000010"


@pytest.mark.parametrize("result", [KeyError("x"), TypeError("x"), ValueError("x"), ZeroDivisionError("x")])
def test_an_upcaster_that_raises_makes_the_record_undecodable(result: Exception) -> None:
    @upcaster(declare(2), from_version=1)
    def fail(data: dict[str, Any]) -> dict[str, Any]:
        raise result

    assert reason_of(NAME, "1") is UndecodableReason.INVALID_DATA


def test_an_upcaster_that_returns_no_dict_makes_the_record_undecodable() -> None:
    @upcaster(declare(2), from_version=1)
    def forget(data: dict[str, Any]) -> dict[str, Any]:
        return None  # type: ignore[return-value]

    assert reason_of(NAME, "1") is UndecodableReason.INVALID_DATA


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, UndecodableReason.INVALID_DATA),
        (b"[]", UndecodableReason.INVALID_DATA),
        (b"{", UndecodableReason.INVALID_JSON),
        (b'{"a": "\xff"}', UndecodableReason.BAD_ENCODING),
        (b'{"a":' * 100_000, UndecodableReason.TOO_DEEP),
    ],
)
def test_old_payloads_are_classified_like_new_ones(data: bytes | None, reason: UndecodableReason) -> None:
    leave_trail(declare(2), 1)

    assert reason_of(NAME, "1", data) is reason


@pytest.mark.parametrize("from_version", [2, 3, "2.1"])
def test_an_upcaster_leads_to_a_newer_version(from_version: int | str) -> None:
    with pytest.raises(ContractError, match="older version"):
        leave_trail(declare(2), from_version)


def test_two_upcasters_for_the_same_step_are_refused() -> None:
    second = declare(2)
    leave_trail(second, 1)

    with pytest.raises(ContractError, match="does that already"):
        leave_trail(second, 1)


def test_an_upcaster_of_no_event_is_refused() -> None:
    with pytest.raises(NotAnEvent):
        upcaster(int, from_version=1)(lambda data: data)


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/json", "application/vnd.order+json; charset=utf-8", "Application/JSON"]
)
def test_json_by_any_name_is_read(content_type: str) -> None:
    declare(1)

    assert events.decode(NAME, "1", b'{"total": 1}', content_type=content_type).total == 1


@pytest.mark.parametrize("content_type", ["application/avro", "text/plain", "", "json"])
def test_other_content_types_are_no_json(content_type: str) -> None:
    declare(1)

    assert reason_of(NAME, "1", content_type=content_type) is UndecodableReason.UNSUPPORTED_CONTENT_TYPE


def test_an_isolated_block_forgets_what_was_declared_in_it() -> None:
    with events.isolated():
        leave_trail(declare(2), 1)
        events.decode(NAME, "1", b'{"total": 1}')

    assert events.versions(NAME) == []
    assert reason_of(NAME, "1") is UndecodableReason.MISSING_UPCASTER


def test_a_class_that_is_imported_again_replaces_itself() -> None:
    def declare_again() -> type[Any]:
        @event(NAME, entity="order")
        class OrderPlaced:
            total: int

        return OrderPlaced

    old, new = declare_again(), declare_again()

    assert [contract.cls for contract in events.all() if contract.name == NAME] == [new]
    assert events.find(NAME, "1") is events.contract_of(new)
    with pytest.raises(NotAnEvent):
        events.contract_of(old)
