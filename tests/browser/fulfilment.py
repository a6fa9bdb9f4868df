"""A saga that fulfils orders, with instances in every state that an operator meets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from django.db import transaction

from django_eventbus import Reject, RetryPolicy, Saga, event, handler, on, on_timeout, publish, starts
from django_eventbus.testing import drain

ONE_ATTEMPT = RetryPolicy(max_attempts=1)


@event("shop.checkout.basket-ordered", entity="basket", key="order")
class BasketOrdered:
    order: str
    total: int


@event("shop.stock.goods-reserved", entity="stock", key="order")
class GoodsReserved:
    order: str
    shelf: str


@event("shop.stock.reservation-withdrawn", entity="stock", key="order")
class ReservationWithdrawn:
    order: str


@event("shop.payments.payment-arrived", entity="payment", key="order")
class PaymentArrived:
    order: str


@event("shop.shipping.parcel-requested", entity="parcel", key="order")
class ParcelRequested:
    order: str


class Stage(StrEnum):
    ORDERED = "ordered"
    RESERVED = "reserved"
    PAID = "paid"
    ABANDONED = "abandoned"


@dataclass
class Fulfilment:
    stage: Stage = Stage.ORDERED
    total: int = 0
    shelf: str = ""
    reminders: int = 0


class StockClosed(LookupError):
    __module__ = "stock.shelves"  # what operators see and filter by


def open_warehouse() -> None:
    """Declare the saga and who withdraws its reservations; a test forgets them at its end."""

    class OrderFulfilment(
        Saga[Fulfilment],
        name="orders.OrderFulfilment",
        correlate="order",
        transitions={
            None: {BasketOrdered: Stage.ORDERED},
            Stage.ORDERED: {GoodsReserved: Stage.RESERVED},
            Stage.RESERVED: {PaymentArrived: Stage.PAID, "payment": (Stage.RESERVED, Stage.ABANDONED)},
        },
    ):
        @starts(BasketOrdered)
        def begin(self, ordered: BasketOrdered) -> None:
            self.state.total = ordered.total

        @on(GoodsReserved)
        def wait_for_payment(self, reserved: GoodsReserved) -> None:
            self.state.stage, self.state.shelf = Stage.RESERVED, reserved.shelf
            self.add_compensation(ReservationWithdrawn(order=reserved.order))
            self.schedule_timeout("payment", timedelta(days=3))

        @on(PaymentArrived)
        def ship(self, paid: PaymentArrived) -> ParcelRequested:
            self.state.stage = Stage.PAID
            self.complete()
            return ParcelRequested(order=paid.order)

        @on_timeout("payment")
        def remind(self) -> None:
            if self.state.reminders == 1:
                self.state.stage = Stage.ABANDONED
                self.compensate()
            else:
                self.state.reminders += 1
                self.schedule_timeout("payment", timedelta(days=3))

    @handler(ReservationWithdrawn, name="stock.withdraw", retry=ONE_ATTEMPT)
    def withdraw(withdrawn: ReservationWithdrawn) -> None:
        if withdrawn.order.endswith("3"):
            raise Reject("shelf B 12 is closed for stocktaking")


def fill_sagas() -> None:
    """Let some orders be fulfilled, some wait, and some be undone."""
    tell(*[BasketOrdered(order=f"2026-004{number}", total=40 + number) for number in range(6)])
    tell(*[GoodsReserved(order=f"2026-004{number}", shelf=f"A {number}") for number in range(5)])
    tell(PaymentArrived(order="2026-0040"), PaymentArrived(order="2026-0041"))
    drain(advance=timedelta(days=4))
    tell(PaymentArrived(order="2026-0042"))
    tell(BasketOrdered(order="2026-0047", total=99), GoodsReserved(order="2026-0047", shelf="B 12"))


def tell(*events: object) -> None:
    with transaction.atomic():
        for each in events:
            publish(each)
    drain()
