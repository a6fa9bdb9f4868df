"""Relay and handlers run inside a test, on its own connection, until nothing is due."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError
from django.test import TestCase

from django_eventbus import MessageContext, Reject, RetryPolicy, handler, publish
from django_eventbus.bus import buses
from django_eventbus.models import DeadLetter, InboxMessage, OutboxMessage, PartitionEpoch, RetryMessage
from django_eventbus.testing import assert_published, captured_events, drain
from django_eventbus.transports.base import FailureKind
from tests.shop.models import Effect, Invoice
from tests.testing.tested_events import InvoiceIssued, OrderPlaced

ORDER = uuid.UUID(int=7)


def place(total: int = 5, *, order: uuid.UUID = ORDER) -> uuid.UUID:
    with transaction.atomic():
        return publish(OrderPlaced(order_id=order, total=total))


def record_effects(name: str = "tests.effects", **options: Any) -> None:
    @handler(OrderPlaced, name=name, **options)
    def effects(event: OrderPlaced) -> None:
        Effect.objects.create(handler=name, key=str(event.order_id), number=event.total)


def failing(times: int, error: Callable[[], Exception] = LookupError, **options: Any) -> list[int]:
    """Declare a handler that fails so many times; return the attempts that it has seen."""
    attempts: list[int] = []

    @handler(OrderPlaced, name="tests.failing", **options)
    def fail(event: OrderPlaced, context: MessageContext) -> None:
        attempts.append(context.attempt)
        Effect.objects.create(handler="failed")
        if len(attempts) <= times:
            raise error()

    return attempts


def numbers(name: str = "tests.effects") -> list[int]:
    return list(Effect.objects.filter(handler=name).order_by("id").values_list("number", flat=True))


class TestInsideTestCase(TestCase):
    def test_handlers_run_once_and_the_outbox_is_empty(self) -> None:
        record_effects()
        place(1)
        place(2)

        report = drain()

        assert connection.in_atomic_block
        assert numbers() == [1, 2]
        assert (report.sent, report.handled, report.failed, report.unsent, report.waiting) == (2, 2, 0, 0, 0)
        assert not OutboxMessage.objects.exists()
        assert InboxMessage.objects.count() == 2

    def test_returned_events_are_published_and_handled_too(self) -> None:
        @handler(OrderPlaced, name="tests.invoice")
        def invoice(event: OrderPlaced) -> InvoiceIssued:
            Invoice.objects.create(order_id=event.order_id, total=event.total)
            return InvoiceIssued(order_id=event.order_id, total=event.total)

        @handler(InvoiceIssued, name="tests.book")
        def book(event: InvoiceIssued) -> None:
            Effect.objects.create(handler="tests.book", number=event.total)

        place(9)
        with captured_events():
            report = drain()
            assert_published(InvoiceIssued, count=1, order_id=ORDER, total=9)

        assert (report.sent, report.handled) == (2, 2)
        assert numbers("tests.book") == [9]

    def test_a_failure_is_undone_and_waits_for_its_time(self) -> None:
        failing(1)
        record_effects()
        place()

        report = drain()

        assert (report.handled, report.failed, report.dead, report.waiting) == (1, 1, 0, 1)
        (failure,) = report.failures
        assert (failure.handler, failure.attempt) == ("tests.failing", 1)
        assert isinstance(failure.error, LookupError)
        assert not Effect.objects.filter(handler="failed").exists()
        assert numbers() == [5]

    def test_time_can_be_let_pass(self) -> None:
        attempts = failing(2, retry=RetryPolicy(max_attempts=5, delays=(10, 100), jitter=0))
        place()

        drain()
        drain(advance=timedelta(seconds=9))
        early = list(attempts)
        drain(advance=timedelta(seconds=2))
        second = list(attempts)
        report = drain(advance=timedelta(hours=1))

        assert (early, second, attempts) == ([1], [1, 2], [1, 2, 3])
        assert (report.handled, report.waiting) == (1, 0)

    def test_enough_time_makes_a_dead_letter(self) -> None:
        attempts = failing(100, retry=RetryPolicy(max_attempts=4, delays=(10,), jitter=0))
        place()

        report = drain(advance=timedelta(seconds=31))

        assert attempts == [1, 2, 3, 4]
        assert (report.failed, report.dead, report.waiting) == (3, 1, 0)
        letter = DeadLetter.objects.get()
        assert (letter.handler, letter.attempts, letter.status) == ("tests.failing", 4, "dead")

    def test_a_key_waits_behind_its_failure_and_keeps_its_order(self) -> None:
        attempts = failing(1, retry=RetryPolicy(delays=(10,), jitter=0))
        place(1)
        place(2)
        place(3, order=uuid.UUID(int=8))

        report = drain()
        later = drain(advance=timedelta(seconds=11))

        assert (report.handled, report.waiting) == (1, 2)
        assert (later.handled, later.waiting) == (2, 0)
        assert attempts == [1, 1, 2, 1]

    def test_a_rejected_message_is_dead_at_once(self) -> None:
        failing(100, lambda: Reject("no such customer"))
        place()

        report = drain()

        assert (report.failed, report.dead) == (0, 1)
        assert DeadLetter.objects.get().reason == "rejected"

    def test_errors_can_be_raised(self) -> None:
        failing(1, lambda: LookupError("no tax rate"))
        record_effects()
        place()

        with pytest.raises(LookupError, match="no tax rate") as caught:
            drain(raise_errors=True)

        assert "tests.failing, attempt 1 on tests.testing.order-placed" in caught.value.__notes__[0]
        assert numbers() == [5]

    def test_commit_hooks_of_handlers_run_and_those_of_failed_ones_do_not(self) -> None:
        fired: list[str] = []

        @handler(OrderPlaced, name="tests.good")
        def good(event: OrderPlaced) -> None:
            transaction.on_commit(lambda: fired.append("good"))

        @handler(OrderPlaced, name="tests.bad")
        def bad(event: OrderPlaced) -> None:
            transaction.on_commit(lambda: fired.append("bad"))
            raise LookupError

        place()
        drain()

        assert fired == ["good"]

    def test_hooks_of_the_code_under_test_stay_with_the_test_case(self) -> None:
        fired: list[str] = []
        with self.captureOnCommitCallbacks(execute=True):
            transaction.on_commit(lambda: fired.append("own"))
            drain()
            early = list(fired)

        assert (early, fired) == ([], ["own"])

    def test_the_same_event_twice_is_handled_once(self) -> None:
        record_effects()
        event_id = uuid.uuid4()
        for _ in range(2):
            with transaction.atomic():
                publish(OrderPlaced(order_id=ORDER, total=1), event_id=event_id)

        report = drain()

        assert (report.handled, report.duplicates) == (1, 1)
        assert numbers() == [1]

    def test_nothing_to_do_is_reported_as_nothing(self) -> None:
        report = drain()

        assert (report.sent, report.handled, report.failures, report.waiting, report.unsent) == (0, 0, (), 0, 0)

    def test_inside_atomic_it_is_refused(self) -> None:
        with pytest.raises(TransactionManagementError, match="Call it after the block"), transaction.atomic():
            drain()

    @pytest.mark.once
    def test_events_that_lead_back_to_themselves_end_the_test(self) -> None:
        @handler(OrderPlaced, name="tests.echo")
        def echo(event: OrderPlaced) -> OrderPlaced:
            return event

        place()

        with pytest.raises(RuntimeError, match="lead back to them"):
            drain()

    def test_async_and_batch_handlers_see_the_transaction_of_the_test(self) -> None:
        @handler(OrderPlaced, name="tests.batch", batch=10)
        def many(events: list[OrderPlaced]) -> None:
            Effect.objects.create(handler="tests.batch", number=len(events))

        @handler(OrderPlaced, name="tests.async")
        async def one(event: OrderPlaced) -> None:
            await Effect.objects.acreate(handler="tests.async", number=event.total)

        place(1)
        place(2)

        report = drain()

        assert numbers("tests.batch") == [2]
        assert numbers("tests.async") == [1, 2]
        assert report.handled == 4

    def test_each_drain_leaves_the_partition_clean(self) -> None:
        failing(2, retry=RetryPolicy(delays=(0,), jitter=0))
        for number in range(5):
            place(number)
            drain(advance=timedelta(seconds=1))

        assert not RetryMessage.objects.exists()
        assert not DeadLetter.objects.exists()
        assert list(PartitionEpoch.objects.values_list("is_clean", flat=True)) == [True]


@pytest.mark.django_db(transaction=True)
class TestRealTransactions:
    def test_the_same_call_works_with_real_commits(self) -> None:
        record_effects()
        place(1)

        report = drain()

        assert (report.sent, report.handled) == (1, 1)
        assert numbers() == [1]
        assert drain().sent == 0


@pytest.mark.django_db
class TestMemoryTransport:
    @pytest.fixture(autouse=True)
    def _memory(self, settings: Any) -> None:
        settings.EVENTBUS = {"default": {"TRANSPORT": "memory"}}
        record_effects()

    @property
    def broker(self) -> Any:
        transport: Any = buses["default"].transport
        return transport.broker

    def test_records_are_there_to_look_at(self) -> None:
        event_id = place(1)

        drain()

        (record,) = self.broker.records("dev.tests.public.orders.v1")
        assert dict(record.headers)["ce_id"] == str(event_id).encode()
        assert numbers() == [1]

    def test_an_outage_leaves_events_in_the_outbox_and_costs_no_attempt(self) -> None:
        self.broker.fail_next(FailureKind.TRANSPORT_DOWN)
        place(1)

        down = drain()
        up = drain()

        assert (down.sent, down.unsent, down.failures) == (0, 1, ())
        assert (up.sent, up.unsent, up.handled) == (1, 0, 1)

    def test_a_refused_event_becomes_a_dead_letter(self) -> None:
        self.broker.fail_next(FailureKind.PERMANENT, code="MSG_SIZE_TOO_LARGE")
        place(1)
        place(2)

        report = drain()

        assert (report.sent, report.dead, report.unsent) == (1, 1, 0)
        letter = DeadLetter.objects.get()
        assert (letter.direction, letter.exception_type) == ("out", "MSG_SIZE_TOO_LARGE")
        assert numbers() == [2]

    def test_a_key_in_trouble_steps_aside_until_its_time(self) -> None:
        self.broker.fail_next(FailureKind.OTHER)
        place(1)
        place(2)
        place(3, order=uuid.UUID(int=8))

        report = drain()
        later = drain(advance=timedelta(minutes=1))

        assert (report.sent, report.unsent) == (1, 2)
        assert (later.sent, later.unsent) == (2, 0)
        assert numbers() == [3, 1, 2]
