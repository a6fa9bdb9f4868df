"""An order that is paid completes; one that is not is reminded once, and then compensated."""

from __future__ import annotations

from dataclasses import dataclass

from django_eventbus.sagas.routing import on, on_timeout, starts
from django_eventbus.sagas.saga import Saga
from tests.sagas.killed.points import point

from .events import Paid, Placed, Release, Reserve, Reserved

PATIENCE = 0.3


@dataclass
class State:
    is_reserved: bool = False
    reminders: int = 0


class OrderSaga(Saga[State], correlate="order_id"):
    @starts(Placed)
    def begin(self, event: Placed) -> Reserve:
        self.schedule_timeout("payment", PATIENCE)
        return Reserve(order_id=event.order_id)

    @on(Reserved)
    def reserved(self, event: Reserved) -> None:
        self.state.is_reserved = True
        self.add_compensation(Release(order_id=event.order_id))

    @on(Paid)
    def paid(self, event: Paid) -> None:
        self.complete()

    @on_timeout("payment")
    def remind(self) -> None:
        point("in timeout")
        self.state.reminders += 1
        if self.state.reminders < 2 or not self.state.is_reserved:
            self.schedule_timeout("payment", PATIENCE)
        else:
            self.compensate()
