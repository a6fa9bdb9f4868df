"""Time passes in a test for what waits: scheduled events and retries."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.test import override_settings

from django_eventbus import RetryPolicy, cancel, handler, publish
from django_eventbus.bus import buses
from django_eventbus.models import DeadLetter, ScheduledMessage
from django_eventbus.outbox import publisher
from django_eventbus.testing import advance_time, assert_published, captured_events, drain, draining
from tests.testing.tested_events import InvoiceIssued, OrderPlaced

pytestmark = pytest.mark.django_db

ORDER = uuid.UUID(int=7)
HOUR = timedelta(hours=1)


@pytest.fixture
def handled() -> list[int]:
    totals: list[int] = []

    @handler(OrderPlaced, name="tests.totals")
    def note(event: OrderPlaced) -> None:
        totals.append(event.total)

    return totals


def place(total: int, *, delay: timedelta | None = None, bus: str | None = None) -> uuid.UUID:
    with transaction.atomic():
        return publish(OrderPlaced(order_id=ORDER, total=total), delay=delay, bus=bus)


def test_scheduled_event_is_handled_once_its_time_has_passed(handled: list[int]) -> None:
    place(1, delay=HOUR)

    early = drain(advance=HOUR / 2)
    assert (handled, early.scheduled) == ([], 1)

    late = drain(advance=HOUR / 2)
    assert (handled, late.sent, late.handled, late.scheduled) == ([1], 1, 1, 0)


def test_events_come_in_the_order_of_their_times(handled: list[int]) -> None:
    for total, delay in ((3, 3 * HOUR), (1, HOUR), (2, 2 * HOUR)):
        place(total, delay=delay)
    place(0)

    drain(advance=4 * HOUR)

    assert handled == [0, 1, 2, 3]


def test_time_that_passes_before_draining_counts(handled: list[int]) -> None:
    place(1, delay=HOUR)

    advance_time(HOUR)
    assert handled == []

    drain()
    assert handled == [1]


def test_handler_may_schedule_what_follows_within_the_same_stretch_of_time(handled: list[int]) -> None:
    @handler(OrderPlaced, name="tests.chain")
    def chain(event: OrderPlaced) -> None:
        if event.total < 3:
            publish(OrderPlaced(order_id=ORDER, total=event.total + 1), delay=HOUR)

    place(1)

    drain(advance=HOUR)
    assert handled == [1, 2]
    drain(advance=HOUR)
    assert handled == [1, 2, 3]


def test_due_event_that_fails_is_tried_again_by_the_handlers_own_policy() -> None:
    attempts: list[int] = []

    @handler(OrderPlaced, name="tests.failing", retry=RetryPolicy(max_attempts=2, delays=(60,), jitter=0.0))
    def fail(event: OrderPlaced) -> None:
        attempts.append(event.total)
        raise LookupError

    place(1, delay=HOUR)

    first = drain(advance=HOUR)
    assert (attempts, first.failed, first.waiting) == ([1], 1, 1)
    second = drain(advance=timedelta(minutes=1))
    assert (attempts, second.dead) == ([1, 1], 1)
    assert DeadLetter.objects.get().handler == "tests.failing"


def test_cancelled_event_never_comes(handled: list[int]) -> None:
    event_id = place(1, delay=HOUR)
    with transaction.atomic():
        assert cancel(event_id)

    drain(advance=2 * HOUR)

    assert handled == []


@override_settings(EVENTBUS={"default": {}, "second": {}})
def test_draining_one_bus_leaves_what_is_due_on_another(handled: list[int]) -> None:
    place(1, delay=HOUR, bus="second")
    place(2, delay=HOUR)

    report = drain(bus="default", advance=2 * HOUR)

    assert handled == [2]
    assert report.scheduled == 1


def test_what_falls_due_after_the_last_look_is_not_overlooked(
    handled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    place(1, delay=HOUR)
    place(2, delay=HOUR + timedelta(milliseconds=200))
    step = draining.Carrier.step

    def step_and_rest(carrier: draining.Carrier) -> bool:
        has_progressed = step(carrier)
        if not has_progressed:
            time.sleep(0.3)  # a busy machine: the second event falls due behind the step's back
        return has_progressed

    monkeypatch.setattr(draining.Carrier, "step", step_and_rest)

    drain(advance=2 * HOUR)

    assert handled == [1, 2]


@override_settings(EVENTBUS={"default": {"TRANSPORT": "memory"}})
def test_local_queue_has_its_time_too(handled: list[int]) -> None:
    config = buses["default"].config.local
    with transaction.atomic():
        publisher.publish(config, [OrderPlaced(order_id=ORDER, total=1)], delay=HOUR)

    report = drain(advance=HOUR)

    assert report.sent == 1
    assert not ScheduledMessage.objects.exists()


def test_captured_event_tells_when_it_is_due() -> None:
    with captured_events() as captured:
        place(1)
        place(2, delay=HOUR)

    assert [published.due_at is None for published in captured] == [True, False]
    due_at = captured[1].due_at
    assert due_at is not None
    assert abs(due_at - datetime.now(UTC) - HOUR) < timedelta(minutes=1)
    assert "due at" in str(captured[1])


def test_assertions_see_what_waits_for_its_time() -> None:
    place(1, delay=HOUR)

    assert_published(OrderPlaced, count=1, total=1)
    with pytest.raises(AssertionError):
        assert_published(InvoiceIssued)
