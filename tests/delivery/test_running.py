"""What a handler does, returns or breaks stays within its own run."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import IntegrityError, connection, transaction

from django_eventbus.delivery.context import MessageContext
from django_eventbus.delivery.deliveries import Delivery
from django_eventbus.delivery.registry import handler
from django_eventbus.delivery.running import (
    HandlerMisbehaved,
    HandlerTooSlow,
    arun,
    call,
    finish,
    run,
    run_batch,
)
from django_eventbus.exceptions import NotAnEvent, Undecodable
from django_eventbus.models import OutboxMessage
from django_eventbus.outbox.context import current_context
from tests.shop.models import Effect, Invoice

from .shop import OrderPaid, OrderPlaced, config, delivery, record

pytestmark = pytest.mark.django_db(transaction=True)

BUS = config()


def handled_by(function: Callable[..., Any], **options: Any) -> Delivery:
    handler(OrderPlaced, name="tests.h", **options)(function)
    return delivery(record(correlationid="c-1", causationid="before", tenantid="t-1", message_id="m-1"), attempt=2)


def go(function: Callable[..., Any], **options: Any) -> None:
    made = handled_by(function, **options)
    with transaction.atomic():
        run(made, BUS)


def effect(*_: Any) -> None:
    Effect.objects.create(handler="h")


def headers() -> dict[str, str]:
    parts = OutboxMessage.objects.get().headers.split("\x1f")
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_the_handler_gets_its_event_and_everything_about_its_message() -> None:
    seen: list[Any] = []

    def function(event: OrderPlaced, context: MessageContext) -> None:
        seen.extend((event, context))

    go(function)

    event, context = seen
    assert event == OrderPlaced(order_id=42)
    assert (context.message_id, context.event_name, context.event_version) == ("m-1", "desk.orders.order-placed", "1")
    assert (context.source, context.handler, context.group) == ("/shop/orders", "tests.h", "orders-dev")
    assert (context.correlation_id, context.causation_id, context.tenant_id) == ("c-1", "before", "t-1")
    assert (context.topic, context.partition, context.offset, context.key) == (
        "dev.shop.public.orders.v1",
        3,
        5,
        "42",
    )
    assert (context.attempt, context.is_replay) == (2, False)


def test_a_returned_event_is_published_in_the_same_transaction_as_a_consequence() -> None:
    made = handled_by(lambda event: OrderPaid(order_id=event.order_id))

    with transaction.atomic():
        run(made, BUS)
        assert OutboxMessage.objects.count() == 1
        transaction.set_rollback(True)
    assert not OutboxMessage.objects.exists()

    with transaction.atomic():
        run(made, BUS)
    published = headers()
    assert (published["ce_type"], published["ce_correlationid"]) == ("desk.orders.order-paid", "c-1")
    assert published["ce_causationid"] == "m-1"


def generated(event: OrderPlaced) -> Iterator[OrderPaid]:
    yield OrderPaid(order_id=1)
    yield OrderPaid(order_id=2)


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (lambda event: None, 0),
        (lambda event: [], 0),
        (lambda event: (OrderPaid(order_id=1), OrderPaid(order_id=2)), 2),
        (generated, 2),
        (lambda event: (OrderPaid(order_id=1), None, (generated(event), [])), 3),
    ],
)
def test_several_events_or_none_may_be_returned(function: Any, count: int) -> None:
    go(function)

    assert OutboxMessage.objects.count() == count


@pytest.mark.parametrize("value", [1, "text", b"bytes", {"a": 1}, {1}, OrderPaid, [OrderPaid], object()])
def test_a_returned_value_that_is_no_event_is_an_error(value: object) -> None:
    with pytest.raises(NotAnEvent, match=r"tests\.h returned"):
        go(lambda event: value)


@pytest.mark.parametrize("escape", [SystemExit(3), GeneratorExit(), asyncio.CancelledError(), BaseException("odd")])
def test_what_would_end_the_worker_ends_the_run_only(escape: BaseException) -> None:
    def function(event: OrderPlaced) -> None:
        effect()
        raise escape

    with pytest.raises(HandlerMisbehaved, match=type(escape).__name__) as caught:
        go(function)

    assert caught.value.__cause__ is escape
    assert not Effect.objects.exists()


def test_sys_exit_in_an_async_handler_does_not_end_the_loop() -> None:
    async def function(event: OrderPlaced) -> None:
        sys.exit(1)

    async def two() -> list[Any]:
        return list(await asyncio.gather(arun(made, BUS), asyncio.sleep(0, "alive"), return_exceptions=True))

    made = handled_by(function, atomic=False)

    failed, other = async_to_sync(two)()

    assert isinstance(failed, HandlerMisbehaved)
    assert other == "alive"


def test_a_cancellation_that_an_async_handler_raises_itself_is_its_own_failure() -> None:
    async def function(event: OrderPlaced) -> None:
        raise asyncio.CancelledError

    made = handled_by(function, atomic=False)

    with pytest.raises(HandlerMisbehaved):
        async_to_sync(arun)(made, BUS)


def test_an_interrupt_by_the_operator_is_not_contained() -> None:
    def function(event: OrderPlaced) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(function)


def test_an_interrupt_that_a_handler_raises_in_a_worker_thread_is_contained() -> None:
    def function(event: OrderPlaced) -> None:
        raise KeyboardInterrupt

    made = handled_by(function, atomic=False)
    caught: list[BaseException] = []

    def work() -> None:
        try:
            call((made,), BUS)
        except HandlerMisbehaved as exc:
            caught.append(exc)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)

    assert len(caught) == 1


def test_a_cancelled_worker_is_not_held_up_by_its_handlers() -> None:
    async def function(event: OrderPlaced) -> None:
        await asyncio.sleep(3600)

    async def cancel() -> None:
        task = asyncio.create_task(arun(made, BUS))
        await asyncio.sleep(0)
        task.cancel()
        await task

    made = handled_by(function, atomic=False)

    with pytest.raises(asyncio.CancelledError):
        async_to_sync(cancel)()


@pytest.mark.postgres_only
def test_a_database_error_that_a_handler_swallowed_is_not_taken_for_success() -> None:
    def function(event: OrderPlaced) -> None:
        effect()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1/0")
        except Exception:  # noqa: BLE001
            return

    with pytest.raises(HandlerMisbehaved, match="left the transaction of 'default' broken"):
        go(function)

    assert not Effect.objects.exists()


def test_an_integrity_error_that_a_handler_swallowed_is_not_taken_for_success() -> None:
    def function(event: OrderPlaced) -> None:
        try:
            with transaction.atomic(savepoint=False):
                raise IntegrityError
        except IntegrityError:
            return

    with pytest.raises(HandlerMisbehaved, match="broken"):
        go(function)


def test_an_error_caught_outside_of_its_own_savepoint_is_fine() -> None:
    def function(event: OrderPlaced) -> None:
        try:
            with transaction.atomic():
                Invoice.objects.create(order_id=UUID(int=1), total=None)  # type: ignore[misc]
        except IntegrityError:
            effect()

    go(function)

    assert Effect.objects.count() == 1


@pytest.mark.parametrize("fails", [False, True])
def test_an_atomic_block_left_open_neither_commits_by_half_nor_breaks_the_next_run(fails: bool) -> None:
    def function(event: OrderPlaced) -> None:
        transaction.atomic().__enter__()
        effect()
        if fails:
            raise ValueError("after entering")

    made = handled_by(function)

    with pytest.raises((HandlerMisbehaved, ValueError)), transaction.atomic():
        run(made, BUS)
    with transaction.atomic():
        Effect.objects.create(handler="next")
    connection.close()

    assert [e.handler for e in Effect.objects.all()] == ["next"]


def test_a_transaction_left_open_by_a_handler_without_one_is_rolled_back() -> None:
    def function(event: OrderPlaced) -> None:
        transaction.atomic().__enter__()
        effect()

    made = handled_by(function, atomic=False)

    with pytest.raises(HandlerMisbehaved, match="did not leave it"):
        call((made,), BUS)

    assert not connection.in_atomic_block
    assert not Effect.objects.exists()


def test_a_sync_handler_that_takes_too_long_has_failed() -> None:
    def function(event: OrderPlaced) -> None:
        effect()
        time.sleep(0.02)

    with pytest.raises(HandlerTooSlow, match=r"0\.01 s"):
        go(function, timeout=0.01)

    assert not Effect.objects.exists()


def test_an_async_handler_that_takes_too_long_is_stopped() -> None:
    async def function(event: OrderPlaced) -> None:
        await asyncio.sleep(3600)

    made = handled_by(function, timeout=0.01, atomic=False)

    with pytest.raises(HandlerTooSlow):
        async_to_sync(arun)(made, BUS)


def test_a_timeout_of_the_handlers_own_making_stays_its_own() -> None:
    async def function(event: OrderPlaced) -> None:
        raise TimeoutError("the payment service")

    made = handled_by(function, timeout=60, atomic=False)

    with pytest.raises(TimeoutError, match="payment") as caught:
        async_to_sync(arun)(made, BUS)
    assert not isinstance(caught.value, HandlerTooSlow)


def test_an_async_handler_publishes_what_it_returns() -> None:
    async def function(event: OrderPlaced) -> OrderPaid:
        await Effect.objects.acreate(handler="async")
        return OrderPaid(order_id=1)

    async def unit() -> None:
        block = transaction.atomic()
        await sync_to_async(block.__enter__)()
        await arun(made, BUS)
        await sync_to_async(block.__exit__)(None, None, None)

    made = handled_by(function)

    async_to_sync(unit)()

    assert headers()["ce_causationid"] == "m-1"
    assert Effect.objects.count() == 1


def test_a_sync_run_of_an_async_handler_joins_the_transaction() -> None:
    async def function(event: OrderPlaced) -> None:
        await Effect.objects.acreate(handler="async")

    made = handled_by(function)

    with transaction.atomic():
        run(made, BUS)
        assert Effect.objects.count() == 1
        transaction.set_rollback(True)

    assert not Effect.objects.exists()


def test_without_a_transaction_the_events_are_published_afterwards() -> None:
    made = handled_by(lambda event: OrderPaid(order_id=1), atomic=False)

    returned = call((made,), BUS)
    assert not OutboxMessage.objects.exists()
    with transaction.atomic():
        finish((made,), returned, BUS)

    assert headers()["ce_causationid"] == "m-1"


def test_a_batch_handler_gets_lists_in_order() -> None:
    seen: list[Any] = []

    def function(events: list[OrderPlaced], contexts: list[MessageContext]) -> OrderPaid:
        seen.extend((events, [context.message_id for context in contexts]))
        return OrderPaid(order_id=1)

    handler(OrderPlaced, name="tests.h", batch=10)(function)
    made = [delivery(record(data={"order_id": n}, message_id=f"m-{n}", correlationid="c")) for n in (1, 2)]

    with transaction.atomic():
        run_batch(made, BUS)

    assert seen == [[OrderPlaced(order_id=1), OrderPlaced(order_id=2)], ["m-1", "m-2"]]
    published = headers()
    assert published["ce_correlationid"] == "c"
    assert "ce_causationid" not in published, "two messages are no one cause"


def test_a_message_that_its_handler_cannot_read_fails_before_the_handler() -> None:
    handler(OrderPlaced, name="tests.h", dedupe_key=lambda event: event.nonsense)(effect)
    made = delivery()

    with pytest.raises(AttributeError), transaction.atomic():
        run(made, BUS)

    assert not Effect.objects.exists()
    assert not isinstance(made.error, Undecodable)


@pytest.mark.parametrize(("source", "inherited"), [(BUS.source, "t-1"), ("/elsewhere", None)])
def test_a_tenant_is_inherited_from_our_own_messages_only(source: str, inherited: str | None) -> None:
    seen: list[Any] = []

    def function(event: OrderPlaced, context: MessageContext) -> None:
        seen.append((context.tenant_id, current_context().tenant_id))

    handler(OrderPlaced, name="tests.h")(function)

    with transaction.atomic():
        run(delivery(record(source=source, tenantid="t-1")), BUS)

    assert seen == [("t-1", inherited)]


def test_nothing_is_inherited_from_the_message_that_was_handled_before() -> None:
    seen: list[Any] = []
    handler(OrderPlaced, name="tests.h")(lambda event: seen.append(current_context().correlation_id))

    for message_id in ("m-1", "m-2"):
        with transaction.atomic():
            run(delivery(record(message_id=message_id)), BUS)

    assert seen == ["m-1", "m-2"]
    assert current_context().correlation_id is None
