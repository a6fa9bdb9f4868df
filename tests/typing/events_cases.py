"""Which uses of events do type checkers accept, and which do they refuse? Never imported: only checked."""
# An expected error carries an ignore comment of each checker; both report a comment that suppresses nothing.

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Protocol, assert_type
from uuid import UUID

from django_eventbus.events.contract import AwareDatetime, PartitionKey, event, external_event
from django_eventbus.events.registry import upcaster


class Event(Protocol):
    """What a decorated class is to a type checker."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


def accept(event: Event) -> None: ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TenantScoped:
    tenant_id: UUID


@event("shop.orders.placed", entity="order", version="1.0", key=("tenant_id", "order_id"), subject="orders/{order_id}")
class Placed(TenantScoped):
    order_id: Annotated[int, PartitionKey(order=0)]
    at: AwareDatetime
    notes: list[str] = dataclasses.field(default_factory=list[str])

    def partition_key(self) -> str:
        return str(self.order_id)


@external_event("accounting.day-ended", topic="days", domain="accounting", key=lambda day: day)
class DayEnded:
    market: str


@event("shop.trees.grown", entity="tree")
class Tree:
    left: Tree | None = None
    name: str


class Plain:
    order_id: int


placed = Placed(tenant_id=UUID(int=1), order_id=1, at=datetime.now(UTC))
assert_type(placed, Placed)
assert_type(placed.tenant_id, UUID)
assert_type(placed.at, datetime)
assert_type(dataclasses.replace(placed, order_id=2), Placed)
assert_type(Tree(name="oak", left=Tree(name="ash")).left, Tree | None)
match placed:
    case Placed(order_id=number):
        assert_type(number, int)
accept(placed)
accept(DayEnded(market="x"))


@upcaster(Placed, from_version=1)
def upcast(data: dict[str, Any]) -> dict[str, Any]:
    return data


kept: Callable[[dict[str, Any]], dict[str, Any]] = upcast

DayEnded("x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Tree()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Tree(name=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Tree(name="oak", size=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
placed.order_id = 2  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
accept(Plain())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
event("shop.orders.placed", entiti="order")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
event("shop.orders.placed", entity=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
event("shop.orders.placed", version=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
event(name="shop.orders.placed")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
upcaster(Placed, from_version=1)(len)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
