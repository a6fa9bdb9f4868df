"""What `@stateful_handler` declares, and how it keeps the row of a key for one writer at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, connections, models, transaction
from django.test.utils import isolate_apps

from django_eventbus.delivery.context import MessageContext
from django_eventbus.delivery.deliveries import Delivery
from django_eventbus.delivery.inspection import find_problems
from django_eventbus.delivery.registry import handlers
from django_eventbus.delivery.running import run
from django_eventbus.delivery.stateful import stateful_handler
from django_eventbus.exceptions import ContractError, Reject
from django_eventbus.models import OutboxMessage
from tests.shop.models import Effect, Tally

from .shop import OrderPaid, OrderPlaced, config, delivery, record

BUS = config()
EVERY_ORDER: dict[str, Any] = {"key": "order_id", "state": Tally, "name": "tests.h"}


def handled_by(function: Callable[..., Any], order_id: int = 42, **options: Any) -> Delivery:
    stateful_handler(OrderPlaced, **EVERY_ORDER | options)(function)
    return placed(order_id)


def placed(order_id: int = 42) -> Delivery:
    return delivery(record(data={"order_id": order_id}))


def go(made: Delivery) -> None:
    with transaction.atomic():
        run(made, BUS)


def count(event: OrderPlaced, tally: Tally) -> None:
    tally.count += 1


@pytest.mark.django_db(transaction=True)
def test_the_first_event_of_a_key_makes_its_row_and_later_ones_find_it() -> None:
    first = handled_by(count)

    go(first)
    go(first)
    go(placed(43))

    assert dict(Tally.objects.values_list("key", "count")) == {"42": 2, "43": 1}


@pytest.mark.django_db(transaction=True)
def test_a_failed_run_leaves_neither_a_row_nor_a_change() -> None:
    def fails(event: OrderPlaced, tally: Tally) -> None:
        tally.count += 1
        tally.save()
        raise ValueError("not now")

    with pytest.raises(ValueError, match="not now"):
        go(handled_by(fails))

    assert not Tally.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_context_comes_behind_the_row_and_returned_events_are_published() -> None:
    seen: list[MessageContext] = []

    def counts(event: OrderPlaced, tally: Tally, context: MessageContext) -> Iterator[OrderPaid]:
        seen.append(context)
        yield OrderPaid(order_id=event.order_id)
        tally.count += 1

    go(handled_by(counts))

    assert (seen[0].handler, Tally.objects.get().count, OutboxMessage.objects.count()) == ("tests.h", 1, 1)


@pytest.mark.django_db(transaction=True)
def test_a_coroutine_takes_its_row_too() -> None:
    async def counts(event: OrderPlaced, tally: Tally) -> None:
        tally.count += 1
        await Effect.objects.acreate(handler="h")

    go(handled_by(counts))

    assert (Tally.objects.get().count, Effect.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_a_row_that_the_function_deletes_stays_deleted() -> None:
    def forget(event: OrderPlaced, tally: Tally) -> None:
        tally.delete()

    go(handled_by(forget))

    assert not Tally.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("key", "text"),
    [
        (("order_id", "total"), "42|0"),
        (lambda event: f"o-{event.order_id}", "o-42"),
        (lambda event: ("a|b", event.order_id), r"a\|b|42"),
    ],
)
def test_a_key_may_be_made_of_several_fields_or_by_a_function(key: Any, text: str) -> None:
    go(handled_by(count, key=key))

    assert Tally.objects.get().key == text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("nothing", [None, ""])
def test_an_event_without_a_key_is_rejected_at_once(nothing: object) -> None:
    with pytest.raises(Reject, match=r"OrderPlaced: the key of its state .* is empty"):
        go(handled_by(count, key=lambda event: nothing))

    assert not Tally.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_another_unique_field_can_hold_the_key() -> None:
    go(handled_by(count, state_key="key"))

    assert Tally.objects.get().key == "42"


class Writers:
    """Two threads that handle an event of one key at the same time: the second begins while the first holds the row."""

    def __init__(self) -> None:
        self.has_row = threading.Event()
        self.may_go_on = threading.Event()
        self.runs = 0
        self.errors: list[BaseException] = []

    def handle(self, event: OrderPlaced, tally: Tally) -> None:
        self.runs += 1
        seen = tally.count
        if self.runs == 1:
            self.has_row.set()
            assert self.may_go_on.wait(20)
        tally.count = seen + 1

    def start(self, made: Delivery) -> threading.Thread:
        def write() -> None:
            try:
                go(made)
            except BaseException as exc:  # noqa: BLE001 the test tells it
                self.errors.append(exc)
            finally:
                connections.close_all()

        thread = threading.Thread(target=write)
        thread.start()
        return thread


def waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(cursor.fetchone()[0])


@pytest.mark.postgres_only
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_new", [True, False])
def test_of_two_writers_of_a_key_the_second_waits_and_sees_what_the_first_has_written(is_new: bool) -> None:
    writers = Writers()
    made = handled_by(writers.handle)
    if not is_new:
        Tally.objects.create(key="42")

    first = writers.start(made)
    assert writers.has_row.wait(20)
    second = writers.start(made)
    while not waits_for_a_lock():
        assert second.is_alive()
    was_alone = writers.runs == 1
    writers.may_go_on.set()
    first.join(20)
    second.join(20)

    assert was_alone
    assert (writers.errors, writers.runs, Tally.objects.get().count) == ([], 2, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "nothing"}, "'nothing', which is no field"),
        ({"key": ()}, "give a field of the events"),
        ({"key": 5}, "key=5"),
        ({"state": OrderPlaced}, "is no model"),
        ({"state": models.Model}, "is no model"),
        ({"state_key": "number"}, r"'number' is no field of Tally \(key, count, numbers\)"),
        ({"atomic": False}, "atomic=False"),
        ({"batch": 5}, "'batch' is no parameter"),
    ],
)
def test_wrong_declarations_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        stateful_handler(OrderPlaced, **EVERY_ORDER | options)(count)


def test_an_event_is_demanded() -> None:
    with pytest.raises(ContractError, match=r"Write @stateful_handler\(OrderPlaced\)"):
        stateful_handler(**EVERY_ORDER)(count)
    with pytest.raises(ContractError, match="names no event"):
        stateful_handler(count, **EVERY_ORDER)  # type: ignore[call-overload]


def test_a_function_without_room_for_the_row_is_refused() -> None:
    def plain(event: OrderPlaced) -> None: ...

    with pytest.raises(ContractError, match=r"not callable as \(event, state\) or \(event, state, context\)"):
        stateful_handler(OrderPlaced, **EVERY_ORDER)(plain)


def problems(**options: Any) -> list[str]:
    stateful_handler(OrderPlaced, **EVERY_ORDER | {"name": "shop.h"} | options)(count)
    return [problem.id for problem in find_problems(handlers.all(), [BUS])]


def test_a_sound_declaration_has_no_problem() -> None:
    assert problems() == []


@isolate_apps("tests.shop")
def test_a_row_that_could_not_be_told_by_its_key_is_found() -> None:
    class Total(models.Model):
        order = models.IntegerField(default=0)
        buyer = models.IntegerField(null=True)

        class Meta:
            app_label = "shop"
            constraints = [models.UniqueConstraint(fields=["buyer"], name="one_for_each_buyer")]

    assert problems(state=Total) == ["E065"]
    assert problems(state=Total, state_key="order") == ["E065"]
    assert problems(state=Total, state_key="buyer") == []


@isolate_apps("tests.shop")
def test_a_field_that_nobody_fills_is_found() -> None:
    class Total(models.Model):
        order = models.IntegerField(primary_key=True)
        buyer = models.IntegerField()
        seen_at = models.DateTimeField(auto_now_add=True)
        note = models.TextField()

        class Meta:
            app_label = "shop"

    assert problems(state=Total) == ["E066"]


class ElsewhereRouter:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return db == "other" if app_label == "shop" else None


def test_a_model_of_another_database_is_found(settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["tests.delivery.test_stateful.ElsewhereRouter"]

    assert problems() == ["E067"]
    assert problems(using="other") == []
