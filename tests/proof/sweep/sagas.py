"""A saga that counts its steps, and ends with the last one or when its time is over."""

from __future__ import annotations

from dataclasses import dataclass

from django_eventbus.delivery.retry import RetryPolicy
from django_eventbus.sagas.routing import on, on_timeout, starts
from django_eventbus.sagas.saga import Saga
from tests.proof.sweep import plan
from tests.proof.sweep.events import Advanced, Echoed, Opened
from tests.proof.sweep.noting import note

STEPS = 2  # of a journey, after its start
POLICY = RetryPolicy(max_attempts=plan.ATTEMPTS, delays=(0.05,), jitter=0)


@dataclass
class Miles:
    count: int = 0


class Journey(Saga[Miles], name=plan.JOURNEY, correlate="key", retry=POLICY):
    @starts(Opened)
    def begin(self, event: Opened) -> None:
        self.state = Miles()
        self.schedule_timeout("late", 0.2 if event.key == "short" else 3600)
        self.add_compensation(Echoed(key=event.key, number=event.number))
        note(self.context, key=event.key, number=event.number)

    @on(Advanced)
    def advance(self, event: Advanced) -> None:
        self.state.count += 1
        note(self.context, key=event.key, number=event.number)
        if self.state.count == STEPS:
            self.complete()

    @on_timeout("late")
    def end(self) -> None:
        self.state.count += 100
        self.complete()
