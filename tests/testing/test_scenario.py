"""What stories of a saga say when they go otherwise than told."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from django_eventbus import Saga, event, not_found, on, on_timeout, starts
from django_eventbus.exceptions import EventInvalid
from django_eventbus.testing import SagaScenario


@event("told.orders.placed", entity="order", domain="told")
class Placed:
    order_id: int


@event("told.orders.paid", entity="order", domain="told")
class Paid:
    order_id: int
    amount: int = 1


@event("told.orders.reminded", entity="order", domain="told")
class Reminded:
    order_id: int


@dataclass
class State:
    order_id: int = 0
    paid: int = 0
    reminders: int = 0


def told() -> SagaScenario[State]:
    class OrderSaga(Saga[State], name="shop.OrderSaga"):
        @starts(Placed)
        def begin(self, event: Placed) -> None:
            self.state.order_id = event.order_id
            self.schedule_timeout("payment", timedelta(minutes=10))

        @on(Paid, not_found="ignore")
        def pay(self, event: Paid) -> None:
            self.state.paid += event.amount
            if event.amount < 0:
                self.publish(Paid(order_id="none"))  # type: ignore[arg-type]
            if event.amount == 99:
                self.state.reminders = "x"  # type: ignore[assignment]
            if self.state.paid > 1:
                self.complete()

        @not_found(Placed)
        def placed_late(self, event: Placed) -> Reminded:
            return Reminded(order_id=event.order_id)

        @on_timeout("payment")
        def remind(self) -> Reminded:
            self.state.reminders += 1
            self.schedule_timeout("payment", timedelta(minutes=30))
            return Reminded(order_id=self.state.order_id)

    return SagaScenario(OrderSaga)


def test_what_was_given_is_not_expected_again() -> None:
    told().given(Placed(order_id=7)).expect_published().expect_timeouts(payment=timedelta(minutes=10))


def test_timeouts_come_at_their_time_in_their_order() -> None:
    story = told().given(Placed(order_id=7)).advance(timedelta(minutes=5)).given(Placed(order_id=8))

    story.advance(timedelta(minutes=39))

    story.expect_published(Reminded(order_id=7), Reminded(order_id=8), Reminded(order_id=7))
    assert [each.after for each in story.story[-3:]] == [timedelta(minutes=minutes) for minutes in (10, 15, 40)]


def test_a_story_may_be_of_several_instances() -> None:
    story = told().given(Placed(order_id=7), Placed(order_id=8))

    story.when(Paid(order_id=7)).expect_state(order_id=7, paid=1)
    story.when(Paid(order_id=8, amount=2)).expect_state(State(order_id=8, paid=2)).expect_status("completed")


def test_states_are_read_back_between_steps() -> None:
    story = told().given(Placed(order_id=7))
    kept = story.state

    story.when(Paid(order_id=7))

    assert (kept.paid, story.state.paid) == (0, 1)


def test_what_cannot_travel_fails_the_story() -> None:
    story = told().given(Placed(order_id=7))

    with pytest.raises(EventInvalid, match="order_id"):
        story.when(Paid(order_id="x"))  # type: ignore[arg-type]
    with pytest.raises(EventInvalid, match="order_id"):
        story.when(Paid(order_id=7, amount=-1))
    with pytest.raises(EventInvalid, match="reminders"):
        story.when(Paid(order_id=7, amount=99))


def test_not_found_is_part_of_the_story() -> None:
    story = told().given(Placed(order_id=7), Paid(order_id=7, amount=2))

    story.when(Placed(order_id=7)).expect_published(Reminded).expect_outcome("not_found_handled")


Expect = Callable[[SagaScenario[State]], Any]


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        (lambda story: story.given(Paid(order_id=9)), "given(Paid(order_id=9, amount=1)) did nothing."),
        (lambda story: story.expect_published(Reminded), "Published was [], not [Reminded]."),
        (
            lambda story: story.advance(timedelta(minutes=10)).expect_published(Reminded(order_id=8)),
            "Published was [Reminded(order_id=7)], not [Reminded(order_id=8)].",
        ),
        (lambda story: story.expect_state(State(order_id=7, paid=1)), "not State(order_id=7, paid=1, reminders=0)."),
        (lambda story: story.expect_state(paid=1), "The state has paid=0, not 1."),
        (lambda story: story.expect_status("completed"), "The saga is running, not completed."),
        (lambda story: story.expect_outcome("completed"), "The last message was started, not completed."),
        (
            lambda story: story.expect_timeouts(payment=timedelta(minutes=9)),
            "Waiting are payment in 0:10:00, not payment in 0:09:00.",
        ),
        (lambda story: story.when(Paid(order_id=9)).expect_state(), "There is no instance '9'."),
    ],
)
def test_a_failed_expectation_tells_the_story(expect: Expect, message: str) -> None:
    story = told().given(Placed(order_id=7))

    with pytest.raises(AssertionError, match=re.escape(message)) as caught:
        expect(story)

    assert "The story of shop.OrderSaga:\n0:00:00 Placed(order_id=7) -> started\n" in str(caught.value)
    assert "    timeout 'payment' in 0:10:00" in str(caught.value)


def test_an_expectation_without_a_story_says_how_to_begin() -> None:
    with pytest.raises(AssertionError, match="Nothing has happened yet"):
        told().expect_state(paid=1)
