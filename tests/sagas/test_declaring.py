"""What a saga may declare, and what is refused, at once or by the checks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

import pytest

from django_eventbus import checks
from django_eventbus.delivery.registry import handlers
from django_eventbus.events.contract import event
from django_eventbus.events.domain import domain_event
from django_eventbus.exceptions import ContractError
from django_eventbus.sagas.declaration import sagas
from django_eventbus.sagas.routing import not_found, on, on_timeout, starts, starts_or_on
from django_eventbus.sagas.saga import Saga
from tests.shop.models import Order

T = TypeVar("T")


@event("declared.orders.placed", entity="order", domain="declared")
class Placed:
    order_id: int


@event("declared.orders.paid", entity="order", domain="declared")
class Paid:
    order_id: int


@event("declared.days.ended", entity="day", domain="declared")
class DayEnded:
    day: str


class Stage(StrEnum):
    NEW = "new"
    PAID = "paid"


@dataclass
class State:
    order_id: int = 0
    stage: Stage = Stage.NEW


def declare(**options: Any) -> type[Saga[State]]:
    options.setdefault("name", "shop.OrderSaga")

    class OrderSaga(Saga[State], **options):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

        @on(Paid)
        def paid(self, event: Paid) -> None: ...

        @on_timeout("payment")
        def late(self) -> None: ...

    return OrderSaga


def problems() -> list[str]:
    return [str(message.id).removeprefix("eventbus.") for message in checks.check_sagas()]


def test_a_saga_is_one_handler_of_all_its_events() -> None:
    declared = sagas.of(declare(using="default", on_dead_letter="hold_key"))

    found = handlers.find("shop.OrderSaga")
    assert found is not None
    assert found.events[:2] == declared.events == (Placed, Paid)
    assert (found.using, found.on_dead_letter, found.ordered, found.is_atomic) == ("default", "hold_key", True, True)
    assert problems() == []


def test_the_name_is_that_of_the_app_and_the_class() -> None:
    class Fulfilment(Saga[State], name=None):  # type: ignore[arg-type]
        __module__ = "tests.shop.sagas"

        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

    assert sagas.find("shop.Fulfilment") is sagas.of(Fulfilment)


def test_a_class_that_is_imported_again_replaces_itself() -> None:
    declare()
    again = declare()

    assert [saga.cls for saga in sagas.all()] == [again]


def test_a_base_without_a_state_of_its_own_is_no_saga() -> None:
    class Common(Saga[T], Generic[T]):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

    class OrderSaga(Common[State], name="shop.OrderSaga"):
        pass

    class Special(OrderSaga, name="shop.Special"):
        def begin(self, event: Placed) -> None: ...

    assert [saga.cls for saga in sagas.all()] == [OrderSaga, Special]
    assert [saga.state.cls for saga in sagas.all()] == [State, State]
    assert sagas.of(Special).routes[Placed].starts == "begin"


def test_one_event_may_start_with_one_method_and_continue_with_another() -> None:
    class OrderSaga(Saga[State], name="shop.OrderSaga"):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

        @on(Placed)
        def again(self, event: Placed) -> None: ...

        @starts_or_on(Paid)
        def paid(self, event: Paid) -> None: ...

    routes = sagas.of(OrderSaga).routes
    assert (routes[Placed].starts, routes[Placed].continues) == ("begin", "again")
    assert (routes[Paid].starts, routes[Paid].continues) == ("paid", "paid")


def test_not_found_of_a_decorator_goes_before_that_of_the_class() -> None:
    class OrderSaga(Saga[State], name="shop.OrderSaga", not_found="dead_letter"):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

        @on(Paid, not_found="ignore")
        def paid(self, event: Paid) -> None: ...

        @on(DayEnded, correlate="day")
        def ended(self, event: DayEnded) -> None: ...

    routes = sagas.of(OrderSaga).routes
    assert [routes[each].when_unknown for each in (Paid, DayEnded)] == ["ignore", "dead_letter"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurency": "lock"}, "'concurency' is no option of a saga. Did you mean 'concurrency'?"),
        ({"concurrency": "locked"}, "concurrency='locked'; give one of 'lock', 'optimistic'."),
        ({"not_found": "drop"}, "not_found='drop'; give one of 'retry', 'ignore', 'dead_letter'."),
        ({"version": "a b"}, "version='a b' is neither a number nor text"),
        ({"retention": 3}, "retention=3; give a timedelta."),
        ({"name": "order saga"}, "'order saga' is no name."),
        ({"correlate": "number"}, "correlate names 'number', which is no field of Placed (order_id)."),
        ({"correlate": ()}, "correlate=() names no field"),
        ({"correlate": 7}, "correlate=7; give a field name, a tuple of names, or a callable."),
        ({"stage": "stage"}, "stage='stage' names a field for transitions=, and there are none."),
        ({"transitions": {}, "stage": "status"}, "transitions speak of the field 'status', which State has not."),
        ({"transitions": {None: {DayEnded: "new"}}}, "transitions name DayEnded, which no method of the saga takes."),
        ({"transitions": {None: {"shipping": "new"}}}, "transitions name timeout 'shipping', which no method"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=re.escape(message)):
        declare(**options)


def no_start() -> None:
    class OrderSaga(Saga[State], name="shop.OrderSaga"):
        @on(Paid)
        def paid(self, event: Paid) -> None: ...


def two_methods() -> None:
    class OrderSaga(Saga[State], name="shop.OrderSaga"):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

        @starts_or_on(Placed)
        def again(self, event: Placed) -> None: ...


def two_correlations() -> None:
    class OrderSaga(Saga[State], name="shop.OrderSaga"):
        @starts(Placed, correlate="order_id")
        def begin(self, event: Placed) -> None: ...

        @on(Placed, correlate=lambda event: event.order_id)
        def again(self, event: Placed) -> None: ...


def only_not_found() -> None:
    class OrderSaga(Saga[State], name="shop.OrderSaga"):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

        @not_found(Paid)
        def refund(self, event: Paid) -> None: ...


def two_timeouts() -> None:
    class OrderSaga(Saga[State], name="shop.OrderSaga"):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

        @on_timeout("payment")
        def late(self) -> None: ...

        @on_timeout("payment")
        def later(self) -> None: ...


def no_event_argument() -> None:
    class OrderSaga(Saga[State], name="shop.OrderSaga"):
        @starts(Placed)  # type: ignore[arg-type]
        def begin(self) -> None: ...


def timeout_with_event() -> None:
    class OrderSaga(Saga[State], name="shop.OrderSaga"):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

        @on_timeout("payment")  # type: ignore[arg-type]
        def late(self, event: object) -> None: ...


def asynchronous() -> None:
    class OrderSaga(Saga[State], name="shop.OrderSaga"):
        @starts(Placed)  # type: ignore[type-var]
        async def begin(self, event: Placed) -> None: ...


def hidden_name() -> None:
    class OrderSaga(Saga[State], name="shop.OrderSaga"):
        @starts(Placed)
        def complete(self, event: Placed) -> None: ...  # type: ignore[override]


def no_state() -> None:
    class OrderSaga(Saga, name="shop.OrderSaga"):  # type: ignore[type-arg]
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...


def plain_state() -> None:
    class OrderSaga(Saga[dict[str, int]], name="shop.OrderSaga"):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...


def ordinary_class_as_state() -> None:
    class OrderSaga(Saga[Exception], name="shop.OrderSaga"):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...


def name_of_another() -> None:
    declare()
    hidden = type("Other", (), {"__module__": "tests.shop.sagas"})

    class OrderSaga(Saga[State], name="shop.OrderSaga"):
        __module__ = hidden.__module__

        @starts(Placed)
        def begin(self, event: Placed) -> None: ...


def no_event_named() -> None:
    starts()  # type: ignore[call-overload]


def bare_decorator() -> None:
    on(lambda: None)  # type: ignore[call-overload]


def not_an_event() -> None:
    on(int)  # type: ignore[type-var]


def an_instance() -> None:
    on(Paid(order_id=1))  # type: ignore[call-overload]


def unnamed_timeout() -> None:
    on_timeout("")


def unknown_policy() -> None:
    class OrderSaga(Saga[State], name="shop.OrderSaga"):
        @on(Paid, not_found="drop")  # type: ignore[call-overload, untyped-decorator, unused-ignore]
        def paid(self, event: Paid) -> None: ...


def inline_event() -> None:
    @domain_event(dispatch="inline")
    class Counted:
        order_id: int

    on(Counted)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (no_start, "no event starts it. Put @starts(OrderPlaced) above a method."),
        (two_methods, "Placed is taken by begin and by again (@starts_or_on). Keep one."),
        (two_correlations, "Placed has two different correlate=. Keep one."),
        (only_not_found, "@not_found(Paid) on refund would never run, as no method takes the event."),
        (two_timeouts, "timeout 'payment' is taken by late and by later. Keep one."),
        (no_event_argument, "begin(self) -> 'None' is not callable as (self, event)."),
        (timeout_with_event, "late(self, event: 'object') -> 'None' is not callable as (self)."),
        (asynchronous, "begin is async. A saga decides, and waits for nothing: write def."),
        (hidden_name, "complete hides what every saga has. Name the method otherwise."),
        (no_state, "does not say what its state is. Write Saga[State]."),
        (plain_state, "names no class. Write Saga[State], with State declared above it."),
        (ordinary_class_as_state, "Exception is neither a dataclass nor a model. Put @dataclass above it."),
        (name_of_another, "name_of_another.<locals>.OrderSaga: the name 'shop.OrderSaga' belongs to tests.sagas."),
        (no_event_named, "@starts names no event. Write @starts(OrderPlaced)."),
        (bare_decorator, "names no event. Write @on(OrderPlaced)."),
        (not_an_event, "@on(int): builtins.int is no event."),
        (an_instance, "give the class of an event."),
        (unnamed_timeout, "@on_timeout(''): give the timeout a name"),
        (unknown_policy, "@on(Paid, not_found='drop'); give one of 'retry', 'ignore', 'dead_letter'."),
        (inline_event, "Declare the event with dispatch='queued'."),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_wrong_declaration_is_refused(wrong: Callable[[], None], message: str) -> None:
    with pytest.raises(ContractError, match=re.escape(message)):
        wrong()


def test_an_event_that_names_no_instance_is_found_by_the_checks() -> None:
    class OrderSaga(Saga[State], name="shop.OrderSaga"):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

        @on(DayEnded)
        def ended(self, event: DayEnded) -> None: ...

    (message,) = checks.check_sagas()
    assert (message.id, message.msg) == (
        "eventbus.E070",
        "Saga shop.OrderSaga: DayEnded does not say which instance it is for.",
    )
    assert message.hint is not None
    assert "'order_saga_id' or 'order_id' or 'saga_id' or 'id'" in message.hint


def test_a_state_that_json_cannot_carry_is_found_by_the_checks() -> None:
    @dataclass
    class Odd:
        error: Exception | None = None

    class OrderSaga(Saga[Odd], name="shop.OrderSaga"):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

    assert problems() == ["E071"]


def test_a_model_that_is_no_saga_model_is_found_by_the_checks() -> None:
    class OrderSaga(Saga[Order], name="shop.OrderSaga"):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

    assert problems() == ["E071"]


def test_stages_that_the_state_cannot_hold_are_found_by_the_checks() -> None:
    declare(transitions={None: {Placed: Stage.NEW}, Stage.NEW: {Paid: "payed"}})

    assert problems() == ["E072"]


def test_stages_that_nothing_leads_to_are_found_by_the_checks() -> None:
    declare(transitions={None: {Placed: Stage.NEW}, Stage.PAID: {Paid: Stage.NEW}})

    assert problems() == ["W070"]


def test_a_database_from_which_nothing_would_be_sent_is_found_by_the_checks() -> None:
    declare(using="other")

    (message,) = checks.check_sagas()
    assert (message.id, message.hint) == (
        "eventbus.E073",
        "Leave using= out, or name the database of a bus: 'default'.",
    )


def test_the_database_of_any_bus_will_do(settings: Any) -> None:
    settings.EVENTBUS = {"default": {}, "archive": {"DATABASE": "other"}}
    declare(using="other")

    assert problems() == []


def test_options_are_kept() -> None:
    declared = sagas.of(
        declare(version="2.0", concurrency="optimistic", not_found="ignore", retention=timedelta(days=3))
    )

    assert (declared.state.version, declared.concurrency, declared.when_unknown) == ("2.0", "optimistic", "ignore")
    assert declared.retention == timedelta(days=3)
