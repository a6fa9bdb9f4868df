"""One step of a saga a message."""

from __future__ import annotations

from dataclasses import dataclass

from django_eventbus.sagas.routing import starts_or_on
from django_eventbus.sagas.saga import Saga

from .events import OrderPlaced


@dataclass
class State:
    steps: int = 0
    last: int = 0


class OrderSaga(Saga[State], correlate="order"):
    @starts_or_on(OrderPlaced)
    def note(self, event: OrderPlaced) -> None:
        self.state.steps += 1
        self.state.last = event.number
