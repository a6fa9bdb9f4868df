"""What follows from a message for an instance, without database or clock."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_eventbus.delivery.context import make_context
from django_eventbus.events.contract import event
from django_eventbus.exceptions import ContractError, EventInvalid, NotAnEvent, Reject
from django_eventbus.models.saga import SagaStatus
from django_eventbus.sagas.compensation import read_stack, remember, write_stack
from django_eventbus.sagas.decision import Decision, Outcome, decide
from django_eventbus.sagas.declaration import SagaDeclaration, sagas
from django_eventbus.sagas.draft import SagaMisused
from django_eventbus.sagas.instance import ArmedTimeout, Instance, Timeout, Verdict
from django_eventbus.sagas.routing import not_found, on, on_timeout, starts, starts_or_on
from django_eventbus.sagas.saga import Saga

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@event("decided.orders.placed", entity="order", domain="decided")
class Placed:
    order_id: int


@event("decided.orders.touched", entity="order", domain="decided")
class Touched:
    order_id: int


@event("decided.orders.moved", entity="order", domain="decided")
class Moved:
    order_id: int


@event("decided.orders.paid", entity="order", domain="decided")
class Paid:
    order_id: int


@event("decided.orders.undone", entity="order", domain="decided")
class Undone:
    order_id: int
    step: str = ""


@dataclass
class State:
    seen: list[str] = field(default_factory=list)


Act = Callable[[Saga[State]], Any]


def declare(act: Act = lambda saga: None, **options: Any) -> SagaDeclaration:
    """Declare a saga whose methods do what the test asks for."""

    class OrderSaga(Saga[State], name="shop.OrderSaga", **options):
        @starts(Placed)
        def begin(self, event: Placed) -> Any:
            self.state.seen.append("placed")
            return act(self)

        @starts_or_on(Touched)
        def touch(self, event: Touched) -> Any:
            self.state.seen.append("touched")
            return act(self)

        @on(Moved, not_found="dead_letter")
        def move(self, event: Moved) -> Any:
            self.state.seen.append("moved")
            return act(self)

        @on(Paid)
        def pay(self, event: Paid) -> Any:
            return act(self)

        @not_found(Paid)
        def refund(self, event: Paid) -> Any:
            return act(self)

        @on_timeout("payment")
        def late(self) -> Any:
            self.state.seen.append("late")
            return act(self)

        @on_timeout("shipping")
        def later(self) -> None: ...

    return sagas.of(OrderSaga)


def instance(status: SagaStatus = SagaStatus.RUNNING, **values: Any) -> Instance:
    return Instance(status=status, state=State(), **values)


def armed(*names: str) -> dict[str, ArmedTimeout]:
    return {name: ArmedTimeout(uuid.uuid4(), NOW + MINUTE) for name in names}


def taken(declaration: SagaDeclaration, message: object, *, at: Instance | None) -> Decision:
    context = make_context(None if isinstance(message, Timeout | Verdict) else message)
    return decide(declaration, message, key="7", instance=at, context=context, now=NOW)


def decided(act: Act, message: object = Moved(order_id=7), *, at: Instance | None = None) -> Decision:
    return taken(declare(act), message, at=at or instance())


def refused(act: Act, message: str, error: type[Exception] = SagaMisused) -> None:
    with pytest.raises(error, match=re.escape(message)):
        decided(act)


def sent(decision: Decision) -> list[Any]:
    return [outgoing.event for outgoing in decision.published]


# Who takes a message


def test_a_start_makes_an_instance_with_a_blank_state() -> None:
    decision = taken(declare(), Placed(order_id=7), at=None)

    assert (decision.outcome, decision.is_new, decision.status) == (Outcome.STARTED, True, SagaStatus.RUNNING)
    assert (decision.state, decision.step) == (State(["placed"]), "begin")


def test_a_second_start_is_ignored() -> None:
    decision = taken(declare(), Placed(order_id=7), at=instance())

    assert (decision.outcome, decision.changes_instance, decision.step) == (Outcome.DUPLICATE_START, False, "")
    assert decision.state == State()


def test_a_second_start_goes_on_where_the_event_is_declared_for_both() -> None:
    started = taken(declare(), Touched(order_id=7), at=None)
    stepped = taken(declare(), Touched(order_id=7), at=instance())

    assert (started.outcome, started.is_new) == (Outcome.STARTED, True)
    assert (stepped.outcome, stepped.is_new) == (Outcome.STEPPED, False)


def test_an_event_without_instance_is_left_to_the_policy_of_its_route() -> None:
    decision = taken(declare(), Moved(order_id=7), at=None)

    assert (decision.outcome, decision.when_unknown, decision.status) == (
        Outcome.UNKNOWN_INSTANCE,
        "dead_letter",
        None,
    )
    assert not decision.changes_instance


@pytest.mark.parametrize("at", [None, SagaStatus.COMPLETED, SagaStatus.COMPENSATED])
def test_not_found_answers_for_what_is_not_there_and_for_what_has_ended(at: SagaStatus | None) -> None:
    declaration = declare(lambda saga: Undone(order_id=int(saga.key), step=str(saga.status)))

    decision = taken(declaration, Paid(order_id=7), at=None if at is None else instance(at))

    assert (decision.outcome, decision.step, decision.status) == (Outcome.NOT_FOUND_HANDLED, "refund", at)
    assert sent(decision) == [Undone(order_id=7, step=str(at))]
    assert not decision.changes_instance


@pytest.mark.parametrize(
    "act",
    [
        lambda saga: saga.complete(),
        lambda saga: saga.compensate(),
        lambda saga: saga.schedule_timeout("payment", 60),
        lambda saga: saga.add_compensation(Undone(order_id=7)),
        lambda saga: setattr(saga, "state", State()),
        lambda saga: saga.state,
    ],
)
def test_not_found_can_only_publish(act: Act) -> None:
    with pytest.raises(SagaMisused):
        taken(declare(act), Paid(order_id=7), at=None)


def test_not_found_reads_the_state_of_what_has_ended() -> None:
    ended = Instance(status=SagaStatus.COMPLETED, state=State(["shipped"]))

    decision = taken(declare(lambda saga: Undone(order_id=7, step=saga.state.seen[0])), Paid(order_id=7), at=ended)

    assert sent(decision) == [Undone(order_id=7, step="shipped")]


@pytest.mark.parametrize("message", [Placed(order_id=7), Touched(order_id=7), Moved(order_id=7)])
@pytest.mark.parametrize("status", [SagaStatus.COMPLETED, SagaStatus.COMPENSATED])
def test_what_comes_after_the_end_does_nothing(message: object, status: SagaStatus) -> None:
    decision = taken(declare(), message, at=instance(status))

    assert (decision.outcome, decision.changes_instance, decision.state) == (Outcome.IGNORED_LATE, False, State())


def test_an_event_that_the_saga_does_not_take_is_an_error() -> None:
    with pytest.raises(NotAnEvent, match=r"Saga shop\.OrderSaga takes no Undone\."):
        declare().key_of(Undone(order_id=7))


# What a method asks for


def test_what_a_method_returns_or_yields_follows_what_it_published() -> None:
    def act(saga: Saga[State]) -> Any:
        saga.publish(Undone(order_id=1), key="x")
        yield Undone(order_id=2)
        saga.publish(Undone(order_id=3))
        yield [Undone(order_id=4), None, (Undone(order_id=5),)]

    decision = decided(act)

    assert [each.order_id for each in sent(decision)] == [1, 3, 2, 4, 5]
    assert decision.published[0].options == {"key": "x"}


def test_what_is_no_event_is_refused() -> None:
    refused(lambda saga: saga.publish(7), "int is no event", NotAnEvent)
    refused(lambda saga: 7, "shop.OrderSaga.move returned int", NotAnEvent)


def test_a_method_that_raises_decides_nothing() -> None:
    def act(saga: Saga[State]) -> None:
        saga.publish(Undone(order_id=1))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        decided(act)


def test_a_saga_remembers_nothing_but_its_state() -> None:
    refused(lambda saga: setattr(saga, "paid", True), "self.paid of ", SagaMisused)


def test_the_state_can_be_replaced_by_one_of_its_class_only() -> None:
    decision = decided(lambda saga: setattr(saga, "state", State(["new"])))

    assert decision.state == State(["new"])
    refused(lambda saga: setattr(saga, "state", {"seen": []}), "self.state is to be dict, but is declared as State")


def test_a_start_without_a_state_is_refused() -> None:
    @dataclass(frozen=True)
    class Demanding:
        order_id: int

    class OrderSaga(Saga[Demanding], name="shop.OrderSaga"):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

        @starts(Touched)
        def touch(self, event: Touched) -> None:
            assert self.state.order_id

    with pytest.raises(SagaMisused, match=r"shop\.OrderSaga\.begin started an instance without a state"):
        taken(sagas.of(OrderSaga), Placed(order_id=7), at=None)
    with pytest.raises(SagaMisused, match=r"OrderSaga has no state yet\. Assign self\.state first\."):
        taken(sagas.of(OrderSaga), Touched(order_id=7), at=None)


def test_a_method_knows_its_message_its_key_and_the_time() -> None:
    told: list[Any] = []

    decided(lambda saga: told.extend([saga.key, saga.now, saga.context.event_name, saga.status]))

    assert told == ["7", NOW, "decided.orders.moved", SagaStatus.RUNNING]


# Timeouts


def test_a_timeout_is_scheduled_from_now() -> None:
    decision = decided(lambda saga: saga.schedule_timeout("payment", MINUTE))

    assert decision.timeouts_set == {"payment": NOW + MINUTE}
    assert (decision.timeouts_cancelled, decision.timeouts_kept) == ({}, {})


def test_a_timeout_that_is_scheduled_again_replaces_the_one_that_waits() -> None:
    waiting = armed("payment", "shipping")

    decision = decided(lambda saga: saga.schedule_timeout("payment", 120), at=instance(timeouts=waiting))

    assert decision.timeouts_set == {"payment": NOW + 2 * MINUTE}
    assert decision.timeouts_cancelled == {"payment": waiting["payment"]}
    assert decision.timeouts_kept == {"shipping": waiting["shipping"]}


def test_the_last_of_several_schedules_in_one_step_counts() -> None:
    def act(saga: Saga[State]) -> None:
        saga.schedule_timeout("payment", 60)
        saga.schedule_timeout("payment", 120)

    assert decided(act).timeouts_set == {"payment": NOW + 2 * MINUTE}


def test_cancelling_says_whether_a_timeout_waited() -> None:
    told: list[bool] = []

    def act(saga: Saga[State]) -> None:
        saga.schedule_timeout("shipping", 60)
        told.extend([saga.cancel_timeout("payment"), saga.cancel_timeout("payment"), saga.cancel_timeout("shipping")])

    waiting = armed("payment")
    decision = decided(act, at=instance(timeouts=waiting))

    assert told == [True, False, True]
    assert (decision.timeouts_set, decision.timeouts_cancelled, decision.timeouts_kept) == ({}, waiting, {})


@pytest.mark.parametrize(
    ("name", "delay", "message"),
    [
        ("refund", 60, "Saga shop.OrderSaga (7) has no @on_timeout('refund'), only 'payment', 'shipping'."),
        ("payment", 0, "timeout 'payment' in 0. Give seconds or a timedelta, of a time to come."),
        ("payment", -MINUTE, "timeout 'payment' in datetime.timedelta(days=-1, seconds=86340)."),
        ("payment", "soon", "timeout 'payment' in 'soon'."),
        ("payment", float("inf"), "timeout 'payment' in inf."),
        ("payment", float("nan"), "timeout 'payment' in nan."),
        ("payment", timedelta.max, "timeout 'payment' in datetime.timedelta(days=999999999"),
    ],
)
def test_a_timeout_that_could_never_come_is_refused(name: str, delay: Any, message: str) -> None:
    refused(lambda saga: saga.schedule_timeout(name, delay), message)


def test_a_timeout_runs_its_method_and_waits_no_longer() -> None:
    waiting = armed("payment", "shipping")
    due = Timeout(name="payment", event_id=waiting["payment"].event_id)

    decision = taken(declare(), due, at=instance(timeouts=waiting))

    assert (decision.outcome, decision.step, decision.state) == (Outcome.STEPPED, "late", State(["late"]))
    assert (decision.timeouts_cancelled, decision.timeouts_kept) == ({}, {"shipping": waiting["shipping"]})


def test_a_timeout_that_is_armed_again_by_itself_is_not_cancelled() -> None:
    waiting = armed("payment")
    due = Timeout(name="payment", event_id=waiting["payment"].event_id)

    decision = decided(lambda saga: saga.schedule_timeout("payment", MINUTE), due, at=instance(timeouts=waiting))

    assert (decision.timeouts_set, decision.timeouts_cancelled) == ({"payment": NOW + MINUTE}, {})


@pytest.mark.parametrize("at", [None, instance(), instance(timeouts=armed("payment"))], ids=["purged", "off", "anew"])
def test_a_timeout_that_is_no_longer_armed_does_nothing(at: Instance | None) -> None:
    decision = taken(declare(), Timeout(name="payment", event_id=uuid.uuid4()), at=at)

    assert (decision.outcome, decision.changes_instance) == (Outcome.IGNORED_LATE, False)


@pytest.mark.parametrize("status", [SagaStatus.COMPLETED, SagaStatus.COMPENSATED])
def test_a_timeout_does_nothing_after_the_end(status: SagaStatus) -> None:
    waiting = armed("payment")

    due = Timeout(name="payment", event_id=waiting["payment"].event_id)
    decision = taken(declare(), due, at=instance(status, timeouts=waiting))

    assert (decision.outcome, decision.changes_instance) == (Outcome.IGNORED_LATE, False)


def test_a_timeout_that_nobody_takes_any_more_is_an_error() -> None:
    waiting = armed("old")

    with pytest.raises(SagaMisused, match="no @on_timeout takes it any more"):
        taken(declare(), Timeout(name="old", event_id=waiting["old"].event_id), at=instance(timeouts=waiting))


# The end


def test_completing_cancels_timeouts_and_forgets_compensations() -> None:
    waiting = armed("payment", "shipping")
    running = instance(timeouts=waiting, compensations=(remember(Undone(order_id=1)),))

    decision = decided(lambda saga: saga.complete(), at=running)

    assert (decision.outcome, decision.status) == (Outcome.COMPLETED, SagaStatus.COMPLETED)
    assert (decision.timeouts_cancelled, decision.timeouts_kept, decision.compensations) == (waiting, {}, ())
    assert sent(decision) == []


def test_a_saga_may_complete_in_its_first_step() -> None:
    decision = taken(declare(lambda saga: saga.complete()), Placed(order_id=7), at=None)

    assert (decision.outcome, decision.is_new, decision.status) == (Outcome.COMPLETED, True, SagaStatus.COMPLETED)


@pytest.mark.parametrize(
    "act",
    [
        lambda saga: saga.complete(),
        lambda saga: saga.compensate(),
        lambda saga: saga.schedule_timeout("payment", 60),
        lambda saga: saga.add_compensation(Undone(order_id=7)),
    ],
)
def test_nothing_but_publishing_follows_the_end(act: Act) -> None:
    def ends(saga: Saga[State]) -> Undone:
        saga.complete()
        return Undone(order_id=7)

    def goes_on(saga: Saga[State]) -> None:
        saga.complete()
        act(saga)

    assert sent(decided(ends)) == [Undone(order_id=7)]
    refused(goes_on, "after the saga has ended")


# Compensation


def test_compensations_are_remembered_as_they_were_serialised() -> None:
    earlier = remember(Undone(order_id=1, step="a"))

    decision = decided(
        lambda saga: saga.add_compensation(Undone(order_id=2, step="b")), at=instance(compensations=(earlier,))
    )

    assert decision.compensations == (earlier, remember(Undone(order_id=2, step="b")))
    assert read_stack(write_stack(decision.compensations)) == decision.compensations
    assert sent(decision) == []


def test_a_compensation_that_cannot_travel_fails_the_step_that_it_would_undo() -> None:
    refused(lambda saga: saga.add_compensation(7), "is no event", NotAnEvent)
    refused(lambda saga: saga.add_compensation(Undone(order_id="x")), "order_id", EventInvalid)  # type: ignore[arg-type]


def test_compensating_publishes_the_latest_first_and_ends() -> None:
    stack = tuple(remember(Undone(order_id=7, step=step)) for step in "ab")

    def act(saga: Saga[State]) -> None:
        saga.add_compensation(Undone(order_id=7, step="c"))
        saga.compensate()

    decision = decided(act, at=instance(timeouts=armed("payment"), compensations=stack))

    assert [each.step for each in sent(decision)] == ["c", "b", "a"]
    assert all(outgoing.is_compensation for outgoing in decision.published)
    assert (decision.outcome, decision.status) == (Outcome.COMPENSATED, SagaStatus.COMPENSATED)
    assert (decision.compensations, decision.timeouts_kept) == ((), {})


def test_compensating_can_wait_for_what_confirms_it() -> None:
    def act(saga: Saga[State]) -> None:
        saga.compensate(wait=True)
        saga.schedule_timeout("shipping", MINUTE)

    waiting = armed("payment", "shipping")
    decision = decided(act, at=instance(timeouts=waiting, compensations=(remember(Undone(order_id=7)),)))

    assert sent(decision) == [Undone(order_id=7)]
    assert (decision.outcome, decision.status) == (Outcome.COMPENSATING, SagaStatus.COMPENSATING)
    assert (decision.timeouts_cancelled, decision.timeouts_set) == (waiting, {"shipping": NOW + MINUTE})


def test_what_succeeds_while_compensating_is_undone_at_once() -> None:
    decision = decided(lambda saga: saga.add_compensation(Undone(order_id=7)), at=instance(SagaStatus.COMPENSATING))

    assert (sent(decision), decision.compensations) == ([Undone(order_id=7)], ())
    assert (decision.outcome, decision.status) == (Outcome.STEPPED, SagaStatus.COMPENSATING)


def test_completing_while_compensating_ends_as_compensated() -> None:
    decision = decided(lambda saga: saga.complete(), at=instance(SagaStatus.COMPENSATING))

    assert (decision.outcome, decision.status) == (Outcome.COMPENSATED, SagaStatus.COMPENSATED)


def test_compensating_twice_publishes_once() -> None:
    def act(saga: Saga[State]) -> None:
        saga.compensate(wait=True)
        saga.compensate()

    decision = decided(act, at=instance(compensations=(remember(Undone(order_id=7)),)))

    assert sent(decision) == [Undone(order_id=7)]
    assert decision.status is SagaStatus.COMPENSATED


# What operators demand


def test_an_operator_completes() -> None:
    waiting = armed("payment")

    decision = taken(declare(), Verdict.COMPLETE, at=instance(timeouts=waiting))

    assert (decision.outcome, decision.step, decision.timeouts_cancelled) == (Outcome.COMPLETED, "", waiting)


def test_an_operator_compensates() -> None:
    decision = taken(declare(), Verdict.COMPENSATE, at=instance(compensations=(remember(Undone(order_id=7)),)))

    assert (decision.outcome, decision.status) == (Outcome.COMPENSATED, SagaStatus.COMPENSATED)
    assert sent(decision) == [Undone(order_id=7)]


@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("at", [None, instance(SagaStatus.COMPLETED)])
def test_a_verdict_on_what_has_ended_does_nothing(verdict: Verdict, at: Instance | None) -> None:
    decision = taken(declare(), verdict, at=at)

    assert (decision.outcome, decision.changes_instance) == (Outcome.IGNORED_LATE, False)


# Correlation


@pytest.mark.parametrize("field_name", ["order_saga_id", "order_id", "saga_id", "id"])
def test_fields_named_after_the_saga_need_no_correlation(field_name: str) -> None:
    weaker = {"order_saga_id": ("order_id", "saga_id", "id"), "order_id": ("saga_id", "id"), "saga_id": ("id",)}
    names = (field_name, *weaker.get(field_name, ()))
    body = {"__annotations__": dict.fromkeys(reversed(names), int), "__module__": __name__}
    Started: Any = event(f"decided.started.{field_name}", entity="x", domain="x")(type("Started", (), body))

    class OrderSaga(Saga[State], name="shop.OrderSaga"):
        @starts(Started)
        def begin(self, event: Any) -> None: ...

    values = {name: number for number, name in enumerate(names, start=1)}
    assert sagas.of(OrderSaga).key_of(Started(**values)) == "1"


@pytest.mark.parametrize(
    ("correlate", "expected"),
    [
        ("step", "a|b"),
        (("order_id", "step"), r"7|a\|b"),
        (lambda event: event.order_id + 1, "8"),
        (lambda event: (event.step, event.order_id), r"a\|b|7"),
        (lambda event: uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_correlation_by_field_fields_or_callable(correlate: Any, expected: str) -> None:
    class OrderSaga(Saga[State], name="shop.OrderSaga", correlate="order_id"):
        @starts(Undone, correlate=correlate)
        def begin(self, event: Undone) -> None: ...

        @on(Paid)
        def pay(self, event: Paid) -> None: ...

    declaration = sagas.of(OrderSaga)
    assert declaration.key_of(Undone(order_id=7, step="a|b")) == expected
    assert declaration.key_of(Paid(order_id=7)) == "7"


@pytest.mark.parametrize("key", [None, "", "x" * 501])
def test_an_event_that_names_no_instance_is_rejected(key: str | None) -> None:
    class OrderSaga(Saga[State], name="shop.OrderSaga", correlate=lambda event: key):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

    with pytest.raises(Reject, match="the key of its saga"):
        sagas.of(OrderSaga).key_of(Placed(order_id=7))


def test_an_event_without_correlation_says_what_to_do() -> None:
    @event("decided.days.ended", entity="day", domain="decided")
    class DayEnded:
        day: str

    class OrderSaga(Saga[State], name="shop.OrderSaga"):
        @starts(DayEnded)
        def begin(self, event: DayEnded) -> None: ...

    with pytest.raises(ContractError, match="does not say which instance it is for"):
        sagas.of(OrderSaga).key_of(DayEnded(day="x"))
