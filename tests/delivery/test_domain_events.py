"""When, where and in which transaction do the handlers of domain events run?"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from django_eventbus import (
    EventInvalid,
    EventTooLarge,
    MessageContext,
    NotAnEvent,
    NotPublishable,
    RetryPolicy,
    TransactionRequired,
    apublish,
    handler,
    message_context,
    publish,
    publish_many,
)
from django_eventbus.bus import buses
from django_eventbus.delivery.registry import groups_of
from django_eventbus.exceptions import ContractError
from django_eventbus.models import DeadLetter, InboxMessage, OutboxMessage
from django_eventbus.models.control import bus_number
from django_eventbus.outbox import publisher
from django_eventbus.signals import domain_event_failed
from django_eventbus.testing import captured_events, drain
from tests.delivery.inside import CartChanged, CartFilled, CartViewed, ItemAdded, effect, effects

pytestmark = pytest.mark.django_db

KAFKA = {"default": {"TRANSPORT": "kafka", "DOMAIN": "shop", "OPTIONS": {"bootstrap.servers": "localhost:9"}}}


class OutOfStock(Exception):
    pass


@transaction.atomic
def buy(*, then: Callable[[], None] | None = None) -> None:
    """Change something and tell of it; catch what that raises where something comes `then`."""
    effect("buy")
    try:
        publish(ItemAdded(cart_id=1))
    except OutOfStock:
        if then is None:
            raise
        then()


def test_inline_handlers_run_at_once_in_the_transaction_of_the_caller() -> None:
    @handler(ItemAdded, name="desk.count")
    def count(event: ItemAdded) -> None:
        assert connection.in_atomic_block
        effect("count", event.number)

    with transaction.atomic():
        publish(ItemAdded(cart_id=1, number=3))
        assert effects() == [("count", 3)]
        transaction.set_rollback(True)

    assert effects() == []
    assert not InboxMessage.objects.exists()
    assert not OutboxMessage.objects.exists()


def test_what_an_inline_handler_raises_comes_out_of_publish_and_rolls_back_the_caller() -> None:
    @handler(ItemAdded, name="desk.refuse")
    def refuse(event: ItemAdded) -> None:
        effect("refuse")
        raise OutOfStock

    with pytest.raises(OutOfStock):
        buy()

    assert effects() == []


def test_a_caller_that_catches_the_error_still_cannot_commit() -> None:
    @handler(ItemAdded, name="desk.refuse")
    def refuse(event: ItemAdded) -> None:
        raise OutOfStock

    with pytest.raises(TransactionManagementError):
        buy(then=lambda: effect("went on"))

    assert effects() == []


def test_a_caller_that_expects_the_error_opens_a_block_around_it() -> None:
    @handler(ItemAdded, name="desk.refuse")
    def refuse(event: ItemAdded) -> None:
        effect("refuse")
        raise OutOfStock

    with transaction.atomic():
        with pytest.raises(OutOfStock), transaction.atomic():
            publish(ItemAdded(cart_id=1))
        effect("went on")

    assert effects() == [("went on", 0)]


def test_handlers_run_in_order_of_declaration_and_events_in_order_of_publishing() -> None:
    @handler(ItemAdded, name="desk.first")
    def first(event: ItemAdded) -> None:
        effect("first", event.number)

    @handler(ItemAdded, name="desk.second")
    async def second(event: ItemAdded) -> None:
        await sync_to_async(effect)("second", event.number)

    with transaction.atomic():
        publish_many([ItemAdded(cart_id=1, number=1), ItemAdded(cart_id=1, number=2)])

    assert effects() == [("first", 1), ("second", 1), ("first", 2), ("second", 2)]


def test_events_that_inline_handlers_return_are_published_at_once() -> None:
    @handler(ItemAdded, name="desk.tell")
    def tell(event: ItemAdded) -> Iterator[CartChanged | ItemAdded]:
        yield CartChanged(cart_id=event.cart_id)
        if event.number:
            yield ItemAdded(cart_id=event.cart_id, number=event.number - 1)

    with captured_events() as captured, transaction.atomic():
        publish(ItemAdded(cart_id=1, number=1))

    assert captured.events == [
        ItemAdded(cart_id=1, number=1),
        CartChanged(cart_id=1),
        ItemAdded(cart_id=1, number=0),
        CartChanged(cart_id=1),
    ]
    assert OutboxMessage.objects.count() == 2


def test_a_handler_sees_the_message_and_what_it_publishes_names_it_as_the_cause() -> None:
    seen: list[MessageContext] = []

    @handler(ItemAdded, name="desk.tell")
    def tell(event: ItemAdded, context: MessageContext) -> CartChanged:
        seen.append(context)
        return CartChanged(cart_id=event.cart_id)

    with captured_events() as captured, message_context(correlation_id="c-1", tenant_id="t-1"), transaction.atomic():
        event_id = publish(ItemAdded(cart_id=7), headers={"origin": "web"})

    (context,) = seen
    assert (context.message_id, context.correlation_id, context.tenant_id) == (str(event_id), "c-1", "t-1")
    assert (context.event_name, context.key, context.topic) == ("desk.carts.item-added", "7", "local")
    assert dict(context.headers) == {"origin": "web"}
    told = captured[-1].envelope
    assert (told.correlation_id, told.causation_id, told.tenant_id) == ("c-1", str(event_id), "t-1")


@pytest.mark.parametrize("cls", [ItemAdded, CartViewed, CartFilled])
@pytest.mark.parametrize(
    ("fields", "options", "error"),
    [
        ({"number": "many"}, {}, EventInvalid),
        ({}, {"key": object()}, EventInvalid),
        ({}, {"key": "k" * 3000}, EventTooLarge),
        ({}, {"headers": {"ce_id": "forged"}}, EventInvalid),
        ({}, {"event_id": "1"}, EventInvalid),
        ({}, {"delay": -1}, EventInvalid),
    ],
)
def test_domain_events_are_refused_as_all_events_are_and_leave_the_transaction_usable(
    cls: type[Any], fields: dict[str, Any], options: dict[str, Any], error: type[Exception]
) -> None:
    with transaction.atomic():
        with pytest.raises(error):
            publish(cls(cart_id=1, **fields), **options)
        effect("went on")

    assert effects() == [("went on", 0)]
    assert not OutboxMessage.objects.exists()


def test_one_refused_event_of_several_refuses_all_before_anything_runs() -> None:
    @handler(ItemAdded, name="desk.note")
    def note(event: ItemAdded) -> None:
        effect("note")

    with transaction.atomic():
        with pytest.raises(NotAnEvent):
            publish_many([ItemAdded(cart_id=1), CartChanged(cart_id=1), "no event"])
        effect("went on")

    assert effects() == [("went on", 0)]
    assert not OutboxMessage.objects.exists()


@pytest.mark.parametrize("event", [ItemAdded(cart_id=1), CartViewed(cart_id=1), CartFilled(cart_id=1)])
def test_every_domain_event_demands_a_transaction(event: object) -> None:
    with pytest.raises(TransactionRequired):
        publish(event)


@pytest.mark.parametrize("event", [ItemAdded(cart_id=1), CartViewed(cart_id=1)])
def test_what_nothing_keeps_cannot_be_put_off(event: object) -> None:
    with pytest.raises(NotPublishable, match="so nothing keeps it until later"), transaction.atomic():
        publish(event, delay=5)


@pytest.mark.django_db(transaction=True)
def test_domain_events_can_be_published_from_a_coroutine() -> None:
    seen: list[ItemAdded] = []

    @handler(ItemAdded, name="desk.see")
    def see(event: ItemAdded) -> None:
        assert connection.in_atomic_block
        seen.append(event)

    async_to_sync(apublish)(ItemAdded(cart_id=1))

    assert seen == [ItemAdded(cart_id=1)]


@pytest.mark.django_db(transaction=True)
def test_handlers_after_the_commit_see_it_and_run_in_transactions_of_their_own() -> None:
    @handler(CartViewed, name="desk.note")
    def note(event: CartViewed) -> CartChanged:
        assert effects() == [("caller", 0)]
        assert connection.in_atomic_block
        effect("note")
        return CartChanged(cart_id=event.cart_id)

    with transaction.atomic():
        effect("caller")
        publish(CartViewed(cart_id=1))
        assert effects() == [("caller", 0)]

    assert effects() == [("caller", 0), ("note", 0)]
    assert OutboxMessage.objects.get().event_name == "desk.carts.cart-changed"


@pytest.mark.django_db(transaction=True)
def test_nothing_runs_after_a_rollback() -> None:
    @handler(CartViewed, name="desk.note")
    def note(event: CartViewed) -> None:
        effect("note")

    with transaction.atomic():
        publish(CartViewed(cart_id=1))
        transaction.set_rollback(True)

    assert effects() == []


@pytest.mark.django_db(transaction=True)
def test_a_handler_that_fails_after_the_commit_harms_nobody_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    failed: list[tuple[str, str]] = []

    def hear(handler: str, error: Exception, **_: Any) -> None:
        failed.append((handler, type(error).__name__))

    @handler(CartViewed, name="desk.refuse")
    def refuse(event: CartViewed) -> None:
        effect("refuse")
        raise OutOfStock

    @handler(CartViewed, name="desk.note")
    def note(event: CartViewed) -> None:
        effect("note")

    domain_event_failed.connect(hear)
    try:
        with caplog.at_level(logging.ERROR, logger="django_eventbus"), transaction.atomic():
            publish(CartViewed(cart_id=1))
    finally:
        domain_event_failed.disconnect(hear)

    assert effects() == [("note", 0)]
    assert failed == [("desk.refuse", "OutOfStock")]
    assert "domain event lost event=desk.carts.cart-viewed" in caplog.text


def test_queued_events_wait_in_the_outbox_of_the_local_queue(settings: Any) -> None:
    settings.EVENTBUS = KAFKA

    with transaction.atomic():
        event_id = publish(CartFilled(cart_id=4), headers={"origin": "web"})

    row = OutboxMessage.objects.get()
    assert (row.event_id, row.event_name, row.topic) == (event_id, "desk.carts.cart-filled", "local")
    assert row.bus == bus_number("default:local", "default")
    assert bytes(row.key or b"") == b"4"


def test_queued_events_are_handled_like_any_other(settings: Any) -> None:
    settings.EVENTBUS = KAFKA

    @handler(CartFilled, name="desk.note")
    def note(event: CartFilled) -> None:
        effect("note", event.number)

    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        publish_many([CartFilled(cart_id=1, number=number) for number in range(3)])
    report = drain()

    assert len([query for query in queries.captured_queries if "INTO eventbus_outbox" in query["sql"]]) == 1
    assert report.handled == 3
    assert effects() == [("note", 0), ("note", 1), ("note", 2)]
    assert InboxMessage.objects.count() == 3
    assert not OutboxMessage.objects.exists()


def test_kinds_may_be_mixed_in_one_call(settings: Any) -> None:
    settings.EVENTBUS = KAFKA

    @handler(ItemAdded, name="desk.note")
    def note(event: ItemAdded) -> None:
        effect("note", OutboxMessage.objects.count())

    events = [CartChanged(cart_id=1), CartChanged(cart_id=2), ItemAdded(cart_id=1), CartFilled(cart_id=1)]
    with transaction.atomic():
        ids = publish_many(events)

    assert effects() == [("note", 2)]
    rows = OutboxMessage.objects.order_by("id").values_list("event_id", "event_name")
    assert list(rows) == [
        (ids[0], "desk.carts.cart-changed"),
        (ids[1], "desk.carts.cart-changed"),
        (ids[3], "desk.carts.cart-filled"),
    ]


def test_a_bus_with_a_broker_refuses_to_carry_domain_events(settings: Any) -> None:
    settings.EVENTBUS = KAFKA

    with pytest.raises(NotPublishable, match="leads out of it"), transaction.atomic():
        publisher.publish(buses["default"].config, [CartFilled(cart_id=1)])


def test_a_record_from_the_broker_that_calls_itself_a_domain_event_finds_no_handler(settings: Any) -> None:
    settings.EVENTBUS = KAFKA

    @handler(CartFilled, CartChanged, name="desk.note")
    def note(event: CartFilled | CartChanged) -> None: ...

    @handler(ItemAdded, name="desk.count")
    def count(event: ItemAdded) -> None: ...

    config = buses["default"].config
    (outside,), (inside,) = groups_of(config).values(), groups_of(config.local).values()

    assert outside.handler_names == ("desk.note",)
    assert (outside.knows("desk.carts.cart-changed"), outside.knows("desk.carts.cart-filled")) == (True, False)
    assert outside.topics == ("dev.shop.public.carts.v1",)
    assert inside.handler_names == ("desk.count", "desk.note")
    assert inside.knows("desk.carts.cart-filled")


def test_lists_are_for_queued_events() -> None:
    with pytest.raises(ContractError, match="one by one and right here, which excludes batch="):

        @handler(ItemAdded, name="desk.count", batch=10)
        def count(events: list[ItemAdded]) -> None: ...


def test_a_worker_undoes_the_run_alone_whose_inline_event_was_refused() -> None:
    @handler(CartFilled, name="desk.note", retry=RetryPolicy(max_attempts=1))
    def note(event: CartFilled) -> ItemAdded:
        effect("note", event.number)
        return ItemAdded(cart_id=event.cart_id, number=event.number)

    @handler(ItemAdded, name="desk.count")
    def count(event: ItemAdded) -> None:
        effect("count", event.number)
        if event.number == 1:
            raise OutOfStock

    with transaction.atomic():
        publish_many([CartFilled(cart_id=number, number=number) for number in range(3)])
    report = drain()

    assert effects() == [("note", 0), ("count", 0), ("note", 2), ("count", 2)]
    assert (report.handled, report.dead) == (2, 1)
    assert DeadLetter.objects.get().exception_type.endswith("OutOfStock")


def test_a_handler_that_catches_what_an_inline_event_raised_has_failed_all_the_same() -> None:
    @handler(CartFilled, name="desk.note", retry=RetryPolicy(max_attempts=1))
    def note(event: CartFilled) -> None:
        with contextlib.suppress(OutOfStock):
            publish(ItemAdded(cart_id=event.cart_id))

    @handler(ItemAdded, name="desk.refuse")
    def refuse(event: ItemAdded) -> None:
        effect("refuse")
        raise OutOfStock

    with transaction.atomic():
        publish(CartFilled(cart_id=1))
    report = drain()

    assert effects() == []
    assert (report.handled, report.dead) == (0, 1)
    assert "left the transaction" in DeadLetter.objects.get().exception_message


@pytest.mark.django_db(transaction=True)
def test_events_on_commit_follow_the_commit_of_the_worker_and_go_with_a_failed_run() -> None:
    @handler(CartFilled, name="desk.note", retry=RetryPolicy(max_attempts=1))
    def note(event: CartFilled) -> None:
        effect("note", event.number)
        publish(CartViewed(cart_id=event.cart_id, number=event.number))
        if event.number == 1:
            raise OutOfStock

    @handler(CartViewed, name="desk.view")
    def view(event: CartViewed) -> None:
        effect("view", event.number)

    with transaction.atomic():
        publish_many([CartFilled(cart_id=number, number=number) for number in range(3)])
    drain()

    assert effects() == [("note", 0), ("note", 2), ("view", 0), ("view", 2)]


def test_every_bus_has_a_local_queue_of_its_own(settings: Any) -> None:
    settings.EVENTBUS = {**KAFKA, "second": KAFKA["default"]}

    @handler(CartFilled, name="desk.note")
    def note(event: CartFilled) -> None:
        effect("note", event.number)

    with transaction.atomic():
        publish(CartFilled(cart_id=1, number=1))
        publish(CartFilled(cart_id=1, number=2), bus="second")
    first = drain(bus="second")

    assert (first.handled, effects()) == (1, [("note", 2)])
    assert drain().handled == 1
