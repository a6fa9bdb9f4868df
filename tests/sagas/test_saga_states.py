"""How states are kept and upcast, where transitions lead, and how a saga is drawn."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest

from django_eventbus.events.contract import event
from django_eventbus.exceptions import ContractError, EventInvalid, Undecodable, UndecodableReason
from django_eventbus.sagas.declaration import sagas
from django_eventbus.sagas.routing import on, on_timeout, starts, starts_or_on
from django_eventbus.sagas.saga import Saga
from django_eventbus.sagas.state import StateType
from django_eventbus.sagas.transitions import IllegalTransition
from django_eventbus.testing.scenario import SagaScenario


@event("stated.orders.placed", entity="order", domain="stated")
class Placed:
    order_id: int


@event("stated.orders.paid", entity="order", domain="stated")
class Paid:
    order_id: int
    to: str = "paid"


@event("stated.orders.noted", entity="order", domain="stated")
class Noted:
    order_id: int
    to: str = ""


class Stage(StrEnum):
    NEW = "new"
    PAID = "paid"
    ON_HOLD = "on hold"


@dataclass(frozen=True)
class Money:
    amount: Decimal
    stage: Stage = Stage.NEW
    note: str = ""


@dataclass
class Order:
    stage: Stage = Stage.NEW


def declare(state: type[Any] = Money, **options: Any) -> StateType:
    class OrderSaga(Saga[state], name="shop.OrderSaga", **options):  # type: ignore[valid-type]
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

    return sagas.of(OrderSaga).state


# States


def test_a_state_is_exact_json_and_comes_back_as_it_was() -> None:
    kept = declare()
    state = Money(amount=Decimal("1.10"), stage=Stage.PAID)

    data = kept.encode(state)

    assert data == b'{"amount":"1.10","stage":"paid","note":""}'
    assert kept.decode(data, version="1") == state


def test_a_state_may_be_mutable() -> None:
    kept = declare(Order)

    assert kept.decode(kept.encode(Order(stage=Stage.PAID)), version="1") == Order(stage=Stage.PAID)


def test_fields_that_came_later_have_their_defaults_and_those_that_went_are_dropped() -> None:
    assert declare().decode(b'{"amount": 2, "gone": 1}', version="1") == Money(amount=Decimal(2))


def test_values_that_do_not_fit_are_refused_when_they_are_written() -> None:
    with pytest.raises(EventInvalid, match="stage"):
        declare().encode(Money(amount=Decimal(1), stage="odd"))  # type: ignore[arg-type]


def test_a_blank_state_needs_defaults_for_all_fields() -> None:
    assert declare().blank() is None
    assert declare(Order).blank() == Order()


def test_old_states_are_upcast_step_by_step() -> None:
    class OrderSaga(Saga[Money], name="shop.OrderSaga", version=3):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

    @OrderSaga.upcaster(from_version=1)
    def rename(data: dict[str, Any]) -> dict[str, Any]:
        return {"amount": data["total"], "note": "1"}

    @OrderSaga.upcaster(from_version=2)
    def mark(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "note": data["note"] + "2"}

    kept = sagas.of(OrderSaga).state
    assert kept.decode(b'{"total": 5.25}', version="1") == Money(amount=Decimal("5.25"), note="12")
    assert kept.decode(b'{"amount": 5, "note": "x"}', version="2") == Money(amount=Decimal(5), note="x2")
    assert rename({"total": 1}) == {"amount": 1, "note": "1"}


def test_a_state_of_an_unknown_version_is_undecodable() -> None:
    with pytest.raises(Undecodable) as caught:
        declare(version=2).decode(b"{}", version="1")

    assert caught.value.reason is UndecodableReason.MISSING_UPCASTER


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (2, "the saga has version '2'; upcasters lead from older ones."),
        (1, "first does that already. Keep one of them."),
    ],
)
def test_an_upcaster_that_cannot_belong_is_refused(version: int, message: str) -> None:
    class OrderSaga(Saga[Money], name="shop.OrderSaga", version=2):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

    @OrderSaga.upcaster(from_version=1)
    def first(data: dict[str, Any]) -> dict[str, Any]:
        return data

    with pytest.raises(ContractError, match=re.escape(message)):
        OrderSaga.upcaster(from_version=version)(lambda data: data)


# Transitions

TABLE = {
    None: {Placed: Stage.NEW},
    Stage.NEW: {Paid: (Stage.NEW, Stage.PAID), "payment": Stage.ON_HOLD},
    Stage.ON_HOLD: {Paid: Stage.PAID},
}


def staged() -> type[Saga[Order]]:
    class OrderSaga(Saga[Order], name="shop.OrderSaga", transitions=TABLE):
        @starts(Placed)
        def begin(self, event: Placed) -> None:
            self.schedule_timeout("payment", 60)

        @on(Paid)
        def pay(self, event: Paid) -> Noted:
            self.state.stage = Stage(event.to)
            return Noted(order_id=event.order_id)

        @on(Noted)
        def note(self, event: Noted) -> None:
            if event.to:
                self.state.stage = Stage(event.to)

        @on_timeout("payment")
        def hold(self) -> None:
            self.state.stage = Stage.ON_HOLD

    return OrderSaga


def test_what_the_table_allows_happens() -> None:
    story = SagaScenario(staged()).given(Placed(order_id=7))

    story.when(Paid(order_id=7, to="new")).expect_state(stage=Stage.NEW)
    story.advance(timedelta(minutes=1)).expect_state(stage=Stage.ON_HOLD)
    story.when(Paid(order_id=7)).expect_state(stage=Stage.PAID)


def test_a_trigger_at_the_wrong_stage_fails_before_its_method_runs() -> None:
    story = SagaScenario(staged()).given(Placed(order_id=7), Paid(order_id=7))

    with pytest.raises(IllegalTransition, match=r"Paid came at stage paid, and is expected at new, on hold\."):
        story.when(Paid(order_id=7, to="not even a stage"))

    story.expect_published().expect_state(stage=Stage.PAID)


def test_a_step_that_leads_elsewhere_fails_and_leaves_nothing() -> None:
    story = SagaScenario(staged()).given(Placed(order_id=7))

    with pytest.raises(IllegalTransition, match=r"Paid led from stage new to on hold; .* allow new, paid\."):
        story.when(Paid(order_id=7, to="on hold"))

    story.expect_published().expect_state(stage=Stage.NEW)


def test_what_is_in_no_line_may_come_at_any_stage_but_change_none() -> None:
    story = SagaScenario(staged()).given(Placed(order_id=7))

    story.when(Noted(order_id=7)).expect_outcome("stepped")

    with pytest.raises(IllegalTransition, match=r"Noted led from stage new to paid; its transitions allow new\."):
        story.when(Noted(order_id=7, to="paid"))


def test_a_start_must_lead_to_the_first_stage() -> None:
    class OrderSaga(Saga[Order], name="shop.OrderSaga", transitions={None: {Placed: Stage.NEW}}):
        @starts(Placed)
        def begin(self, event: Placed) -> None:
            self.state = Order(stage=Stage.PAID)

    with pytest.raises(IllegalTransition, match="Placed led from stage the start to paid"):
        SagaScenario(OrderSaga).when(Placed(order_id=7))


# Diagrams


def test_a_diagram_shows_stages_and_what_leads_from_one_to_the_other() -> None:
    assert staged().diagram().splitlines() == [
        "stateDiagram-v2",
        '    state "on hold" as stage_2',
        "    [*] --> new : Placed",
        "    new --> new : Paid",
        "    new --> paid : Paid",
        "    new --> stage_2 : timeout payment",
        "    stage_2 --> paid : Paid",
        "    paid --> [*]",
    ]


def test_a_diagram_can_mark_where_an_instance_stands() -> None:
    assert staged().diagram(current="on hold").splitlines()[-2:] == [
        "    classDef current stroke-width:4px",
        "    class stage_2 current",
    ]


@pytest.mark.parametrize(
    ("waits", "undoing"),
    [
        (False, ["running --> compensated : timeout payment"]),
        (True, ["compensating --> compensated : Paid", "running --> compensating : timeout payment"]),
    ],
)
def test_without_transitions_a_diagram_shows_how_the_methods_can_end(waits: bool, undoing: list[str]) -> None:
    class Common(Saga[Order], name="shop.Common"):
        @starts_or_on(Placed)
        def begin(self, event: Placed) -> None: ...

        @on(Paid)
        def pay(self, event: Paid) -> None:
            self._finish()

        @on(Noted)
        def note(self, event: Noted) -> None: ...

        def _finish(self) -> None:
            self.complete()

    class Ends(Common, name="shop.Ends"):
        @on_timeout("payment")
        def late(self) -> None:
            self.compensate()

    class Waits(Common, name="shop.Waits"):
        @on_timeout("payment")
        def late(self) -> None:
            self.compensate(wait=True)

    drawn = {line.strip() for line in (Waits if waits else Ends).diagram().splitlines()}

    assert drawn == {
        "stateDiagram-v2",
        "[*] --> running : Placed",
        "running --> running : Placed",
        "running --> completed : Paid",
        "running --> running : Noted",
        *undoing,
        "completed --> [*]",
        "compensated --> [*]",
    }


def test_a_diagram_hides_from_mermaid_what_it_would_read_as_its_own() -> None:
    @dataclass
    class Odd:
        stage: str = "end"

    table = {None: {Placed: "end"}, "end": {'pay: "now"; #1': "a:b"}}

    class OrderSaga(Saga[Odd], name="shop.OrderSaga", transitions=table):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

        @on_timeout('pay: "now"; #1')
        def late(self) -> None: ...

    assert OrderSaga.diagram(current="end").splitlines() == [
        "stateDiagram-v2",
        '    state "end" as stage_0',
        '    state "a b" as stage_1',
        "    [*] --> stage_0 : Placed",
        "    stage_0 --> stage_1 : timeout pay now 1",
        "    stage_1 --> [*]",
        "    classDef current stroke-width:4px",
        "    class stage_0 current",
    ]


def test_a_diagram_marks_nothing_that_it_does_not_show() -> None:
    assert staged().diagram(current="completed") == staged().diagram()
