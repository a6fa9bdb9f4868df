from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, TestCase, TransactionTestCase
from django.urls import path

from django_eventbus import (
    EventInvalid,
    NotPublishable,
    TransactionRequired,
    apublish,
    apublish_many,
    publish,
    publish_many,
)
from django_eventbus.delivery import dispatch
from django_eventbus.models import OutboxMessage
from django_eventbus.outbox.wakeup import waking_in_tests
from tests.outbox.published_events import OrderPlaced, OrderShipped
from tests.shop.models import Order

EVENT = OrderShipped(number=1)


def count(using: str = "default") -> int:
    return OutboxMessage.objects.using(using).count()


class TestInTestCase(TestCase):
    """The blocks that TestCase opens around a test are no transaction of the caller."""

    databases = {"default", "other"}

    def test_publish_needs_a_block_of_its_own(self) -> None:
        with pytest.raises(TransactionRequired, match=r"with transaction\.atomic\(\)"):
            publish(EVENT)

        with transaction.atomic():
            publish(EVENT)
        assert count() == 1

    def test_rolled_back_savepoint_takes_its_events_with_it(self) -> None:
        with transaction.atomic():
            publish(OrderShipped(number=1))
            with transaction.atomic():
                publish(OrderShipped(number=2))
                transaction.set_rollback(True)
            publish(OrderShipped(number=3))

        assert [bytes(row.payload) for row in OutboxMessage.objects.order_by("id")] == [
            b'{"number":1}',
            b'{"number":3}',
        ]

    def test_hooks_run_while_the_test_is_open_wake_nobody(self) -> None:
        with waking_in_tests():
            with self.captureOnCommitCallbacks(execute=True) as callbacks, transaction.atomic():
                publish(EVENT)

            assert callbacks
            assert [thread.name for thread in threading.enumerate() if "eventbus" in thread.name] == []


class TestCommit(TransactionTestCase):
    databases = {"default", "other"}

    def test_rollback_leaves_nothing(self) -> None:
        with transaction.atomic():
            Order.objects.create()
            publish(EVENT)
            transaction.set_rollback(True)

        assert (count(), Order.objects.count()) == (0, 0)

    def test_bulk_create_commits_together_with_events(self) -> None:
        with transaction.atomic():
            orders = Order.objects.bulk_create([Order() for _ in range(3)])
            publish_many([OrderPlaced(order_id=order.pk) for order in orders])

        assert (count(), Order.objects.count()) == (3, 3)

    def test_event_goes_to_the_database_of_its_bus(self) -> None:
        with self.settings(EVENTBUS={"default": {}, "second": {"DATABASE": "other"}}):
            with transaction.atomic(using="other"):
                publish(EVENT, bus="second")
                publish(EVENT, bus="second", using="other")
                with transaction.atomic(), pytest.raises(NotPublishable, match="would never be sent"):
                    publish(EVENT, using="other")

            assert (count(), count("other")) == (0, 2)

    def test_change_in_one_database_and_event_in_another_is_refused(self) -> None:
        for require_atomic in (True, False):
            changed = self.settings(EVENTBUS={"default": {"REQUIRE_ATOMIC": require_atomic}})
            with changed, transaction.atomic(using="other"), pytest.raises(TransactionRequired, match="'other'"):
                publish(EVENT)

    def test_both_databases_in_a_transaction_is_the_callers_choice(self) -> None:
        with transaction.atomic(using="other"), transaction.atomic():
            publish(EVENT)

        assert count() == 1

    def test_autocommit_is_refused_unless_allowed(self) -> None:
        with pytest.raises(TransactionRequired, match="REQUIRE_ATOMIC"):
            publish(EVENT)

        with self.settings(EVENTBUS={"default": {"REQUIRE_ATOMIC": False}}):
            publish(EVENT)
        assert count() == 1

    def test_transaction_by_hand_counts(self) -> None:
        transaction.set_autocommit(False)
        try:
            publish(EVENT)
            transaction.rollback()
            publish(EVENT)
            transaction.commit()
        finally:
            transaction.set_autocommit(True)

        assert count() == 1

    def test_transaction_by_hand_elsewhere_is_refused(self) -> None:
        transaction.set_autocommit(False, using="other")
        try:
            with pytest.raises(TransactionRequired, match="'other'"):
                publish(EVENT)
        finally:
            transaction.rollback(using="other")
            transaction.set_autocommit(True, using="other")

    def test_transaction_that_the_caller_broke_stays_broken(self) -> None:
        with transaction.atomic():
            transaction.set_rollback(True)
            with pytest.raises(transaction.TransactionManagementError, match="execute queries"):
                publish(EVENT)

        assert count() == 0

    def test_every_thread_has_its_own_transaction(self) -> None:
        refused: list[Exception] = []

        def other_thread() -> None:
            try:
                publish(EVENT)
            except TransactionRequired as exc:
                refused.append(exc)
            finally:
                connections.close_all()

        with transaction.atomic():
            publish(EVENT)
            thread = threading.Thread(target=other_thread)
            thread.start()
            thread.join()

        assert (count(), len(refused)) == (1, 1)

    def test_first_publish_rolled_back_leaves_the_bus_number_right(self) -> None:
        from django_eventbus.models import ControlFlag, control

        control._numbers.clear()
        ControlFlag.objects.all().delete()
        with transaction.atomic():
            publish(EVENT)
            transaction.set_rollback(True)

        with transaction.atomic():
            publish(EVENT)

        assert OutboxMessage.objects.get().bus == ControlFlag.objects.get().pk


def place_order(request: HttpRequest) -> HttpResponse:
    order = Order.objects.create()
    publish(OrderPlaced(order_id=order.pk))
    if "fail" in request.GET:
        raise ZeroDivisionError
    return HttpResponse()


async def place_order_async(request: HttpRequest) -> HttpResponse:
    await apublish(EVENT, headers={"origin": "view"})
    return HttpResponse()


urlpatterns = [path("order/", place_order), path("async/", place_order_async)]


class TestViews:
    pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]

    @pytest.fixture
    def atomic_requests(self) -> Iterator[None]:
        connection.settings_dict["ATOMIC_REQUESTS"] = True
        yield
        connection.settings_dict["ATOMIC_REQUESTS"] = False

    def test_atomic_request_commits_or_rolls_back_both(self, atomic_requests: None) -> None:
        client = Client(raise_request_exception=False)

        assert client.get("/order/").status_code == 200
        assert client.get("/order/?fail").status_code == 500

        assert (count(), Order.objects.count()) == (1, 1)

    def test_view_without_a_transaction_is_refused(self) -> None:
        with pytest.raises(TransactionRequired):
            Client().get("/order/")

    def test_async_view_publishes_in_a_transaction_of_its_own(self) -> None:
        async def request() -> None:
            assert (await AsyncClient().get("/async/")).status_code == 200

        asyncio_run(request())

        assert count() == 1


@pytest.mark.django_db
class TestAsync:
    def test_refusals_reach_the_coroutine(self) -> None:
        async def run() -> None:
            with pytest.raises(EventInvalid):
                await apublish(OrderShipped(number="x"))  # type: ignore[arg-type]
            assert len(await apublish_many([EVENT, EVENT])) == 2

        asyncio_run(run())

        assert count() == 2

    def test_open_transaction_is_joined(self) -> None:
        with transaction.atomic():
            dispatch.publish_in_own_transaction(_config(), [EVENT])
            transaction.set_rollback(True)

        assert count() == 0

    def test_publish_in_a_coroutine_says_what_to_do(self, settings: Any) -> None:
        async def run() -> None:
            publish(EVENT)

        with pytest.raises(TransactionRequired, match=r"Await apublish\(\)"):
            asyncio.run(run())


def asyncio_run(coroutine: Any) -> None:
    """Run a coroutine whose database work stays in this thread, as Django's own test cases do."""
    from asgiref.sync import async_to_sync

    async def main() -> None:
        await coroutine

    async_to_sync(main)()


def _config() -> Any:
    from django_eventbus.bus import buses

    return buses["default"].config
