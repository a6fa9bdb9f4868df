from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.test import override_settings

from django_eventbus import (
    EventInvalid,
    TransactionRequired,
    apublish,
    buses,
    cancel,
    publish,
    publish_many,
    reschedule,
)
from django_eventbus.models import OutboxMessage, ScheduledMessage
from django_eventbus.outbox import publisher
from tests.outbox.published_events import OrderPlaced, OrderShipped

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


def waiting() -> list[ScheduledMessage]:
    return list(ScheduledMessage.objects.order_by("due_at", "id"))


@pytest.mark.parametrize("delay", [HOUR, 3600, 3600.0])
def test_delayed_event_waits_apart_from_the_outbox(delay: Any, now: datetime) -> None:
    order_id = uuid.uuid4()

    with transaction.atomic():
        event_id = publish(OrderPlaced(order_id=order_id), delay=delay)

    [row] = waiting()
    assert row.event_id == event_id
    assert (row.event_name, row.topic) == ("tests.publishing.order-placed", "dev.tests.public.orders.v1")
    assert bytes(row.key or b"") == str(order_id).encode()
    assert abs(row.due_at - now - HOUR) < SECOND * 30
    assert not OutboxMessage.objects.exists()


def test_event_may_name_the_moment_in_any_time_zone(now: datetime) -> None:
    moment = (now + HOUR).astimezone(timezone(timedelta(hours=-5)))

    with transaction.atomic():
        publish(OrderShipped(number=1), deliver_at=moment)

    assert [row.due_at for row in waiting()] == [moment]


def test_many_events_wait_in_their_order(now: datetime) -> None:
    with transaction.atomic():
        ids = publish_many([OrderShipped(number=number) for number in range(5)], deliver_at=now + HOUR)

    assert [row.event_id for row in waiting()] == ids


def test_coroutine_may_publish_for_later() -> None:
    async_to_sync(apublish)(OrderShipped(number=1), delay=HOUR)

    assert len(waiting()) == 1


@pytest.mark.parametrize("options", [{"delay": 0}, {"delay": timedelta(0)}, {"deliver_at": datetime.now(UTC)}])
def test_what_is_due_already_goes_into_the_outbox(options: dict[str, Any]) -> None:
    with transaction.atomic():
        publish(OrderShipped(number=1), **options)

    assert not waiting()
    assert OutboxMessage.objects.count() == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"delay": 1, "deliver_at": datetime.now(UTC)}, "both given"),
        ({"delay": -1}, "negative"),
        ({"delay": float("nan")}, "no duration"),
        ({"delay": float("inf")}, "no duration"),
        ({"delay": True}, "no duration"),
        ({"delay": "1h"}, "no duration"),
        ({"delay": 1.8e9}, "more than ten years"),
        ({"deliver_at": datetime(2050, 1, 1)}, "no time zone"),  # noqa: DTZ001
        ({"deliver_at": "tomorrow"}, "no datetime"),
        ({"deliver_at": HOUR}, "give delay instead"),
        ({"deliver_at": datetime(1970, 1, 2, tzinfo=UTC)}, "more than a day ago"),
        ({"deliver_at": datetime.max.replace(tzinfo=timezone(-HOUR))}, "more than ten years ahead"),
    ],
)
def test_impossible_times_are_refused_before_anything_is_written(options: dict[str, Any], complaint: str) -> None:
    with transaction.atomic():
        with pytest.raises(EventInvalid, match=complaint):
            publish(OrderShipped(number=1), **options)
        with pytest.raises(ValueError, match=complaint):
            publish_many([OrderShipped(number=1)], **options)

    assert not waiting()
    assert not OutboxMessage.objects.exists()


def test_rolled_back_schedule_leaves_nothing() -> None:
    with transaction.atomic():
        publish(OrderShipped(number=1), delay=HOUR)
        transaction.set_rollback(True)

    assert not waiting()


def test_cancelled_event_is_gone_and_cannot_be_cancelled_twice() -> None:
    with transaction.atomic():
        kept, called_back = publish_many([OrderShipped(number=1), OrderShipped(number=2)], delay=HOUR)

    with transaction.atomic():
        answers = [cancel(called_back), cancel(called_back), cancel(uuid.uuid4())]

    assert answers == [True, False, False]
    assert [row.event_id for row in waiting()] == [kept]


def test_rolled_back_cancel_lets_the_event_wait_on() -> None:
    with transaction.atomic():
        event_id = publish(OrderShipped(number=1), delay=HOUR)

    with transaction.atomic():
        assert cancel(event_id)
        transaction.set_rollback(True)

    assert [row.event_id for row in waiting()] == [event_id]


def test_event_on_its_way_is_not_cancelled() -> None:
    with transaction.atomic():
        event_id = publish(OrderShipped(number=1))

        assert not cancel(event_id)
        assert not reschedule(event_id, deliver_at=datetime.now(UTC) + HOUR)

    assert OutboxMessage.objects.count() == 1


def test_rescheduled_event_waits_for_another_time(now: datetime) -> None:
    with transaction.atomic():
        event_id = publish(OrderShipped(number=1), delay=HOUR)

    with transaction.atomic():
        assert reschedule(event_id, deliver_at=now + 2 * HOUR)

    assert [row.due_at for row in waiting()] == [now + 2 * HOUR]


def test_event_rescheduled_to_a_time_that_has_passed_is_due(now: datetime) -> None:
    with transaction.atomic():
        event_id = publish(OrderShipped(number=1), delay=HOUR)

    with transaction.atomic():
        assert reschedule(event_id, deliver_at=now - HOUR)

    [row] = waiting()
    assert now <= row.due_at <= datetime.now(UTC)


def test_impossible_times_are_refused_by_reschedule() -> None:
    with transaction.atomic(), pytest.raises(EventInvalid, match="no time zone"):
        reschedule(uuid.uuid4(), deliver_at=datetime(2050, 1, 1))  # noqa: DTZ001


def test_id_that_is_no_uuid_is_refused() -> None:
    with transaction.atomic(), pytest.raises(EventInvalid, match=r"the id that publish\(\) returned"):
        cancel(str(uuid.uuid4()))  # type: ignore[arg-type]


def test_cancel_and_reschedule_want_a_transaction_and_say_how() -> None:
    with pytest.raises(TransactionRequired, match=r"with transaction\.atomic\(\): change\(\); cancel\(\.\.\.\)"):
        cancel(uuid.uuid4())
    with pytest.raises(TransactionRequired, match=r"reschedule\(\) was called outside a transaction"):
        reschedule(uuid.uuid4(), deliver_at=datetime.now(UTC) + HOUR)


@override_settings(EVENTBUS={"default": {}, "second": {}})
def test_event_of_another_bus_is_not_cancelled() -> None:
    with transaction.atomic():
        event_id = publish(OrderShipped(number=1), bus="second", delay=HOUR)

    with transaction.atomic():
        answers = [cancel(event_id), cancel(event_id, bus="second")]

    assert answers == [False, True]


@override_settings(EVENTBUS={"default": {"TRANSPORT": "memory"}})
def test_event_of_the_local_queue_is_called_back_and_put_off_as_others_are(now: datetime) -> None:
    config = buses["default"].config

    with transaction.atomic():
        kept, called_back = publisher.publish(
            config.local, [OrderShipped(number=1), OrderShipped(number=2)], delay=HOUR
        )
        answers = [reschedule(kept, deliver_at=now + 2 * HOUR), cancel(called_back)]

    assert answers == [True, True]
    assert [(row.event_id, row.due_at) for row in waiting()] == [(kept, now + 2 * HOUR)]
