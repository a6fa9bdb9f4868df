"""A saga that turns a basket into an order; what others call commands are events here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from django_eventbus.events.contract import event
from django_eventbus.sagas.routing import on, on_timeout, starts
from django_eventbus.sagas.saga import Saga

MAX_ATTEMPTS = 3
PATIENCE = timedelta(minutes=10)


@event("basket.checkout.checkout-submitted", entity="checkout", domain="basket", key="order_id")
class CheckoutSubmitted:
    order_id: int
    basket_id: int
    email: str | None = None
    name: str | None = None


@event("basket.orders.placement-requested", entity="order", domain="basket", key="order_id")
class PlacementRequested:
    order_id: int
    basket_id: int


@event("basket.baskets.deletion-failed", entity="basket", domain="basket", key="order_id")
class BasketDeletionFailed:
    order_id: int


@event("basket.orders.deletion-failure-told", entity="order", domain="basket", key="order_id")
class DeletionFailureTold:
    order_id: int


@event("basket.orders.order-completed", entity="order", domain="basket", key="order_id")
class OrderCompleted:
    order_id: int


@event("basket.orders.order-cancelled", entity="order", domain="basket", key="order_id")
class OrderCancelled:
    order_id: int


@event("basket.notices.completion-notified", entity="notice", domain="basket", key="order_id")
class CompletionNotified:
    order_id: int
    email: str
    name: str


@event("basket.notices.cancellation-notified", entity="notice", domain="basket", key="order_id")
class CancellationNotified:
    order_id: int
    email: str
    name: str


class Stage(StrEnum):
    PLACED = "placed"
    BASKET_DELETION_FAILED = "basket_deletion_failed"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


@dataclass
class Checkout:
    order_id: int = 0
    stage: Stage = Stage.PLACED
    email: str | None = None
    name: str | None = None
    attempts: int = 0


TRANSITIONS = {
    None: {CheckoutSubmitted: Stage.PLACED},
    Stage.PLACED: {
        BasketDeletionFailed: Stage.BASKET_DELETION_FAILED,
        OrderCompleted: Stage.COMPLETED,
        OrderCancelled: Stage.CANCELLED,
        "placement": (Stage.PLACED, Stage.CANCELLED),
    },
}


def declare() -> type[Saga[Checkout]]:
    """Declare the saga for one test."""

    class BasketSaga(Saga[Checkout], name="basket.BasketSaga", correlate="order_id", transitions=TRANSITIONS):
        @starts(CheckoutSubmitted)
        def place(self, event: CheckoutSubmitted) -> PlacementRequested:
            self.state = Checkout(order_id=event.order_id, email=event.email, name=event.name)
            self.schedule_timeout("placement", PATIENCE)
            return PlacementRequested(order_id=event.order_id, basket_id=event.basket_id)

        @on(BasketDeletionFailed)
        def give_up(self, event: BasketDeletionFailed) -> DeletionFailureTold:
            self.state.stage = Stage.BASKET_DELETION_FAILED
            self.complete()
            return DeletionFailureTold(order_id=event.order_id)

        @on(OrderCompleted)
        def finish(self, event: OrderCompleted) -> CompletionNotified | None:
            state = self.state
            state.stage = Stage.COMPLETED
            self.complete()
            if state.email is None or state.name is None:
                return None
            return CompletionNotified(order_id=state.order_id, email=state.email, name=state.name)

        @on(OrderCancelled)
        def cancel(self, event: OrderCancelled) -> CancellationNotified | None:
            return self._cancel()

        @on_timeout("placement")
        def ask_again(self) -> CancellationNotified | None:
            self.state.attempts += 1
            if self.state.attempts >= MAX_ATTEMPTS:
                return self._cancel()
            self.schedule_timeout("placement", PATIENCE)
            return None

        def _cancel(self) -> CancellationNotified | None:
            state = self.state
            state.stage = Stage.CANCELLED
            self.complete()
            if state.email is None or state.name is None:
                return None
            return CancellationNotified(order_id=state.order_id, email=state.email, name=state.name)

    return BasketSaga
