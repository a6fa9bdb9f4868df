"""What a relay publishes of what recurs: each occurrence once, with its transaction, by its policy."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, OperationalError, connection, transaction

from django_eventbus import signals
from django_eventbus.conf import BusConfig
from django_eventbus.models import OutboxMessage, RecurringEvent
from django_eventbus.recurrence.occurrence import Missed, occurrence_id
from django_eventbus.recurrence.registry import recurring
from django_eventbus.recurrence.runner import RecurringRunner

from .conftest import NOON, Clock
from .recurring_events import Ticked

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., RecurringRunner]


def tick_every(minutes: int = 5, *, name: str = "tests.tick", missed: Missed = "latest", **options: Any) -> None:
    @recurring(every=timedelta(minutes=minutes), name=name, missed=missed, **options)
    def tick(at: datetime) -> Ticked:
        return Ticked(name=name, at=at)


def ticks() -> list[str]:
    """Return the minutes of the occurrences in the outbox."""
    payloads = OutboxMessage.objects.order_by("id").values_list("payload", flat=True)
    return [json.loads(bytes(payload))["at"][11:16] for payload in payloads]


def row(name: str = "tests.tick") -> RecurringEvent:
    return RecurringEvent.objects.get(name=name)


def test_nothing_declared_costs_nothing(make_runner: Make, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert make_runner().run_due() is None


def test_new_declaration_waits_for_its_first_time(make_runner: Make, clock: Clock) -> None:
    tick_every(5)
    runner = make_runner()

    assert runner.run_due() == 1  # it looks again: an operator may pause, another relay may be at work
    assert (ticks(), row().next_at) == ([], NOON + timedelta(minutes=5))
    clock.set(minute=4, second=59.5)
    assert runner.run_due() == pytest.approx(0.5)


def test_due_occurrence_is_published_once_and_the_next_is_set(make_runner: Make, clock: Clock) -> None:
    tick_every(5)
    runner, other = make_runner(), make_runner()
    runner.run_due()

    clock.set(minute=5)
    assert runner.run_due() == 0.0  # the relay sends it at once
    other.run_due()
    runner.run_due()

    assert ticks() == ["12:05"]
    assert (row().last_at, row().next_at) == (NOON + timedelta(minutes=5), NOON + timedelta(minutes=10))


def test_id_is_that_of_the_occurrence(make_runner: Make, clock: Clock, config: BusConfig) -> None:
    @recurring(every=60, name="tests.two")
    def two() -> list[Ticked]:
        return [Ticked(name="a"), Ticked(name="b")]

    runner = make_runner()
    runner.run_due()
    clock.set(minute=1, second=3)
    runner.run_due()

    at = NOON + timedelta(minutes=1)
    published = OutboxMessage.objects.order_by("id").values_list("event_id", flat=True)
    assert list(published) == [occurrence_id(config.source, "tests.two", at, number) for number in (0, 1)]


def test_function_gets_the_planned_time_in_its_own_zone(make_runner: Make, clock: Clock) -> None:
    given: list[datetime] = []

    @recurring("30 13 * * *", timezone="Europe/Berlin", name="tests.daily")
    def daily(at: datetime) -> None:
        given.append(at)

    runner = make_runner()
    runner.run_due()
    clock.set(minute=30, second=7)
    runner.run_due()

    assert [at.isoformat() for at in given] == ["2026-11-21T13:30:00+01:00"]
    assert not OutboxMessage.objects.exists()
    assert row("tests.daily").last_at == datetime(2026, 11, 21, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("latest", ["12:25"]), ("skip", []), ("all", ["12:05", "12:10", "12:15", "12:20", "12:25"])],
)
def test_downtime_is_made_up_for_by_policy(
    make_runner: Make, clock: Clock, missed: Missed, expected: list[str]
) -> None:
    heard: list[datetime] = []
    tick_every(5, missed=missed)
    make_runner().run_due()

    def note(since: datetime, **_: Any) -> None:
        heard.append(since)

    signals.occurrences_missed.connect(note)
    try:
        clock.set(minute=29)
        runner = make_runner()
        while runner.run_due() == 0.0:
            pass
    finally:
        signals.occurrences_missed.disconnect(note)

    assert ticks() == expected
    assert row().next_at == NOON + timedelta(minutes=30)
    assert heard == ([] if missed == "all" else [NOON + timedelta(minutes=5)])


def test_backlog_lets_the_relay_send_in_between(make_runner: Make, clock: Clock) -> None:
    tick_every(5, missed="all")
    runner = make_runner()
    runner.run_due()

    clock.set(minute=12)

    assert (runner.run_due(), ticks()) == (0.0, ["12:05"])
    assert (runner.run_due(), ticks()) == (0.0, ["12:05", "12:10"])
    assert runner.run_due() == 1


def test_failed_occurrence_leaves_nothing_behind_and_is_tried_again(make_runner: Make, clock: Clock) -> None:
    attempts: list[datetime] = []

    @recurring(every=timedelta(hours=1), name="tests.tick")
    def tick(at: datetime) -> Ticked:
        Group.objects.create(name=f"attempt {len(attempts)}")
        attempts.append(at)
        if len(attempts) < 3:
            raise LookupError("no tax rate")
        return Ticked(name="tick", at=at)

    runner = make_runner()
    runner.run_due()
    clock.set(hour=13)
    runner.run_due()

    assert (ticks(), Group.objects.count()) == ([], 0)
    assert (row().failures, row().last_error) == (1, "LookupError: no tax rate")
    clock.set(hour=13, second=0.9)
    runner.run_due()
    assert len(attempts) == 1  # not before its time
    clock.set(hour=13, second=1)
    runner.run_due()
    clock.set(hour=13, second=6)
    runner.run_due()
    assert (ticks(), Group.objects.count(), set(attempts)) == (["13:00"], 1, {NOON.replace(hour=13)})
    assert (row().failures, row().last_error, row().next_at) == (0, "", NOON.replace(hour=14))


def test_broken_function_stops_no_other(make_runner: Make, clock: Clock) -> None:
    @recurring(every=60, name="tests.broken")  # type: ignore[type-var]
    def broken() -> str:
        return "not an event"

    tick_every(1)
    runner = make_runner()
    runner.run_due()
    clock.set(minute=1)
    runner.run_due()

    assert ticks() == ["12:01"]
    assert row("tests.broken").last_error.startswith("NotAnEvent: tests.broken returned str")


def test_function_that_spoils_the_transaction_publishes_nothing(make_runner: Make, clock: Clock) -> None:
    @recurring(every=60, name="tests.tick")
    def tick(at: datetime) -> Ticked:
        try:
            with transaction.atomic(savepoint=False), connection.cursor() as cursor:
                cursor.execute("SELECT * FROM there_is_no_such_table")
        except DatabaseError:
            pass
        return Ticked(name="tick", at=at)

    runner = make_runner()
    runner.run_due()
    clock.set(minute=1)
    runner.run_due()

    assert ticks() == []
    assert row().failures == 1


@pytest.mark.postgres_only
def test_lost_connection_is_no_failure_of_the_function(make_runner: Make, clock: Clock) -> None:
    is_killing = True

    @recurring(every=60, name="tests.tick")
    def tick(at: datetime) -> Ticked:
        if is_killing:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return Ticked(name="tick", at=at)

    runner = make_runner()
    runner.run_due()
    clock.set(minute=1)

    with pytest.raises(OperationalError):
        runner.run_due()
    is_killing = False

    assert (row().failures, row().next_at) == (0, NOON + timedelta(minutes=1))
    runner.run_due()
    assert ticks() == ["12:01"]


@pytest.mark.postgres_only
def test_an_operators_act_on_a_row_keeps_no_relay_waiting(make_runner: Make, clock: Clock) -> None:
    tick_every(5)
    tick_every(5, name="tests.other")
    runner = make_runner()
    runner.run_due()
    clock.set(minute=5)
    operator = connection.copy()

    with operator.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT FROM eventbus_recurring WHERE name = 'tests.tick' FOR UPDATE")
        runner.run_due()
        assert (row().last_at, row("tests.other").last_at) == (None, NOON + timedelta(minutes=5))
        cursor.execute("ROLLBACK")
    operator.close()
    runner.run_due()

    assert ticks() == ["12:05", "12:05"]


def test_later_occurrence_is_not_kept_waiting_by_a_failed_one(make_runner: Make, clock: Clock) -> None:
    tried: list[str] = []

    @recurring(every=2, name="tests.tick")
    def tick(at: datetime) -> None:
        tried.append(f"{at:%S}")
        raise LookupError

    runner = make_runner()
    runner.run_due()
    for second in range(2, 12):
        clock.set(second=second)
        runner.run_due()

    # 1 s after the first failure, then with each later occurrence instead of after 5, 30 and 300 s.
    assert tried == ["02", "02", "04", "06", "08", "10"]


def test_changed_schedule_is_planned_anew(make_runner: Make, clock: Clock) -> None:
    tick_every(5)
    make_runner().run_due()

    tick_every(30)
    clock.set(minute=6)
    make_runner().run_due()

    assert (row().schedule, row().next_at, ticks()) == ("every 0:30:00", NOON + timedelta(minutes=30), [])


def test_row_that_is_no_longer_declared_is_left_alone(make_runner: Make, clock: Clock) -> None:
    tick_every(5)
    make_runner().run_due()

    clock.set(minute=20)
    assert make_runner(declared=()).run_due() is None

    assert row().next_at == NOON + timedelta(minutes=5)


def test_other_buses_are_served_by_their_own_relays(make_runner: Make, clock: Clock) -> None:
    tick_every(5, bus="audit")

    assert make_runner().run_due() is None
    assert not RecurringEvent.objects.exists()
