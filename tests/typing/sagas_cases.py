"""Which sagas do type checkers accept, and which do they refuse? Never imported: only checked."""
# An expected error carries an ignore comment of each checker; both report a comment that suppresses nothing.

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_type

from django_eventbus import MessageContext, Saga, event, not_found, on, on_timeout, starts, starts_or_on


@event("shop.orders.placed", entity="order")
class Placed:
    order_id: int


@event("shop.orders.paid", entity="order")
class Paid:
    order_id: int
    amount: int


@event("shop.orders.shipped", entity="order")
class Shipped:
    order_id: int


@event("shop.orders.cancelled", entity="order")
class Cancelled:
    order_id: int


class NotEvent: ...


@dataclass(frozen=True)
class Fulfilment:
    order_id: int
    paid: int = 0


class OrderSaga(
    Saga[Fulfilment],
    name="shop.OrderSaga",
    version=2,
    concurrency="optimistic",
    not_found="dead_letter",
    correlate="order_id",
    retention=timedelta(days=3),
    transitions={None: {Placed: "placed"}, "placed": {Paid: ("placed", "paid"), "payment": "late"}},
    stage="paid",
):
    @starts(Placed, correlate=lambda event: event.order_id)
    def begin(self, event: Placed) -> Cancelled:
        assert_type(self.now, datetime)
        assert_type(self.context, MessageContext)
        self.state = Fulfilment(order_id=event.order_id)
        self.schedule_timeout("payment", timedelta(minutes=30))
        self.publish(Shipped(order_id=1), key="x")
        return Cancelled(order_id=event.order_id)

    @on(Paid, correlate="order_id", not_found="ignore")
    def pay(self, event: Paid) -> None:
        assert_type(self.state, Fulfilment)
        assert_type(self.state.paid, int)
        self.state = dataclasses.replace(self.state, paid=event.amount)
        self.add_compensation(Cancelled(order_id=1))

    @starts_or_on(Shipped, Cancelled)
    def either(self, event: Shipped | Cancelled) -> Iterator[Placed]:
        yield Placed(order_id=event.order_id)

    @not_found(Paid)
    def refund(self, event: Paid) -> list[Cancelled]:
        assert_type(self.key, str)
        return [Cancelled(order_id=event.order_id)]

    @on_timeout("payment")
    def give_up(self) -> None:
        assert_type(self.cancel_timeout("payment"), bool)
        self.compensate(wait=True)


assert_type(OrderSaga.diagram(), str)


class Wrong(Saga[Fulfilment]):
    @starts(Placed)  # type: ignore[arg-type]  # pyright: ignore
    def wrong_event(self, event: Paid) -> None: ...
    @on(Placed, Paid)  # type: ignore[arg-type]  # pyright: ignore
    def too_narrow(self, event: Placed) -> None: ...
    @on(Paid)  # type: ignore[arg-type]  # pyright: ignore
    def no_event(self) -> None: ...
    @on(Paid)  # type: ignore[arg-type]  # pyright: ignore
    def too_many(self, event: Paid, context: MessageContext) -> None: ...
    @on(Paid)  # type: ignore[type-var]  # pyright: ignore
    def returns_no_event(self, event: Paid) -> int:
        return 1

    @on(Paid)  # type: ignore[type-var]  # pyright: ignore
    async def awaits(self, event: Paid) -> None: ...
    @on_timeout("late")  # type: ignore[arg-type]  # pyright: ignore
    def takes_event(self, event: Paid) -> None: ...
    @on(NotEvent)  # type: ignore[type-var]  # pyright: ignore
    def not_an_event(self, event: NotEvent) -> None: ...
    @starts(Placed)
    def wrong_uses(self, event: Placed) -> None:
        self.state = 1  # type: ignore[assignment]  # pyright: ignore
        self.schedule_timeout("late", "soon")  # type: ignore[arg-type]  # pyright: ignore
        self.compensate(True)  # type: ignore[call-arg]  # pyright: ignore
        self.publish(event, kye="x")  # type: ignore[call-arg]  # pyright: ignore


starts(Placed, correlate=lambda event: event.number)  # type: ignore[attr-defined]  # pyright: ignore
on(Placed, not_found="never")  # type: ignore[call-overload]  # pyright: ignore


class WrongOption(Saga[Fulfilment], concurency="lock"):  # type: ignore[call-arg]  # pyright: ignore
    pass


class WrongValue(Saga[Fulfilment], concurrency="locked"):  # type: ignore[arg-type]  # pyright: ignore
    pass
