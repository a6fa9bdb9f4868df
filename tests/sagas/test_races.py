"""Two consumers step into the same instance at the same moment, on connections of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection, connections, transaction

from django_eventbus import publish
from django_eventbus.models import OutboxMessage, RetryMessage, SagaHistory, SagaState
from django_eventbus.sagas.routing import on, starts, starts_or_on
from django_eventbus.sagas.saga import Saga
from tests.sagas.fulfilment import Placed, Reserve, Scene, Touched, history_of

pytestmark = pytest.mark.postgres_only

PATIENCE = 10.0
WAITING_BACKENDS = """
SELECT count(*) FROM pg_stat_clear_snapshot(), pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@dataclass
class Count:
    touches: int = 0


class Meeting:
    """Let the first run of each of two threads go on only when both have got there."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)
        self._seen: set[int] = set()
        self.runs = 0

    def attend(self) -> None:
        self.runs += 1
        if threading.get_ident() not in self._seen:
            self._seen.add(threading.get_ident())
            self._barrier.wait(PATIENCE)


@pytest.fixture
def scenes(transactional_db: None) -> Iterator[tuple[Scene, Scene]]:
    """Two consumers of one group: each owns a partition of its own, as members on two topics do."""
    both = Scene(), Scene("second")
    yield both
    for scene in both:
        scene.close()


def at_once(*deliveries: Callable[[], None]) -> None:
    """Run deliveries in threads, each on its own connection, and raise what one of them raised."""

    def run(delivery: Callable[[], None]) -> None:
        try:
            delivery()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(deliveries)) as pool:
        futures: list[Future[None]] = [pool.submit(run, delivery) for delivery in deliveries]
        wait(futures, PATIENCE * 2)
        for future in futures:
            future.result(0)


def wait_until_somebody_waits() -> None:
    """Return once a session of this database waits for a lock."""
    for _ in range(500):
        with connection.cursor() as cursor:
            cursor.execute(WAITING_BACKENDS)
            if cursor.fetchone()[0]:
                return
        threading.Event().wait(0.02)
    raise AssertionError("nobody waits for a lock")


@pytest.mark.parametrize("concurrency", ["lock", "optimistic"])
def test_of_two_starts_that_race_one_makes_the_instance_and_the_other_is_ignored(
    scenes: tuple[Scene, Scene], concurrency: Any
) -> None:
    meeting = Meeting()

    class Racing(Saga[Count], name="shop.Racing", correlate="order_id", concurrency=concurrency):
        @starts(Placed)
        def begin(self, event: Placed) -> Reserve:
            meeting.attend()
            return Reserve(order_id=event.order_id)

    first, second = scenes
    at_once(lambda: first.deliver(Placed(order_id="1")), lambda: second.deliver(Placed(order_id="1")))

    assert meeting.runs == 2
    assert history_of() == [("shop.orders.placed", "started")]
    assert OutboxMessage.objects.count() == 1
    assert not RetryMessage.objects.exists()


@pytest.mark.parametrize("concurrency", ["lock", "optimistic"])
def test_the_loser_of_a_race_to_start_steps_where_it_may_do_both(scenes: tuple[Scene, Scene], concurrency: Any) -> None:
    meeting = Meeting()

    class Racing(Saga[Count], name="shop.Racing", correlate="order_id", concurrency=concurrency):
        @starts_or_on(Touched)
        def touch(self, event: Touched) -> None:
            meeting.attend()
            self.state.touches += 1

    first, second = scenes
    at_once(lambda: first.deliver(Touched(order_id="1")), lambda: second.deliver(Touched(order_id="1")))

    assert meeting.runs == 3
    assert SagaState.objects.get().state == '{"touches":2}'
    assert [outcome for _, outcome in history_of()] == ["started", "stepped"]


@pytest.mark.parametrize("concurrency", ["lock", "optimistic"])
def test_what_the_loser_of_a_race_has_written_itself_is_undone(scenes: tuple[Scene, Scene], concurrency: Any) -> None:
    meeting = Meeting()
    told: list[str] = []

    class Racing(Saga[Count], name="shop.Racing", correlate="order_id", concurrency=concurrency):
        @starts_or_on(Touched)
        def touch(self, event: Touched) -> None:
            transaction.on_commit(lambda: told.append(event.order_id))
            publish(Reserve(order_id=event.order_id))
            meeting.attend()
            self.state.touches += 1

    first, second = scenes
    at_once(lambda: first.deliver(Touched(order_id="1")), lambda: second.deliver(Touched(order_id="1")))

    assert meeting.runs == 3
    assert SagaState.objects.get().state == '{"touches":2}'
    assert OutboxMessage.objects.count() == 2
    assert told == ["1", "1"]


def test_two_optimistic_steps_that_read_the_same_version_both_count(scenes: tuple[Scene, Scene]) -> None:
    meeting = Meeting()

    class Racing(Saga[Count], name="shop.Racing", correlate="order_id", concurrency="optimistic"):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

        @on(Touched)
        def touch(self, event: Touched) -> Reserve:
            meeting.attend()
            self.state.touches += 1
            return Reserve(order_id=event.order_id)

    first, second = scenes
    first.deliver(Placed(order_id="1"))
    at_once(lambda: first.deliver(Touched(order_id="1")), lambda: second.deliver(Touched(order_id="1")))

    assert meeting.runs == 3
    assert SagaState.objects.get().state == '{"touches":2}'
    assert OutboxMessage.objects.count() == 2
    assert not RetryMessage.objects.exists()


def test_a_step_waits_for_the_one_that_holds_the_row(scenes: tuple[Scene, Scene]) -> None:
    runs: list[int] = []

    class Racing(Saga[Count], name="shop.Racing", correlate="order_id"):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

        @on(Touched)
        def touch(self, event: Touched) -> None:
            runs.append(self.state.touches)
            if len(runs) == 1:
                wait_until_somebody_waits()
            self.state.touches += 1

    first, second = scenes
    first.deliver(Placed(order_id="1"))
    at_once(lambda: first.deliver(Touched(order_id="1")), lambda: second.deliver(Touched(order_id="1")))

    assert runs == [0, 1]
    assert SagaState.objects.get().state == '{"touches":2}'


def test_units_that_meet_the_same_instances_in_opposite_order_end_in_no_deadlock(
    scenes: tuple[Scene, Scene], caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[str] = []

    class Racing(Saga[Count], name="shop.Racing", correlate="order_id"):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

        @on(Touched)
        def touch(self, event: Touched) -> None:
            runs.append(self.key)
            if len(runs) == 1:
                wait_until_somebody_waits()
            self.state.touches += 1

    first, second = scenes
    keys = ("1", "2", "3")
    first.deliver(*[Placed(order_id=key) for key in keys])
    at_once(
        lambda: first.deliver(*[Touched(order_id=key) for key in keys]),
        lambda: second.deliver(*[Touched(order_id=key) for key in reversed(keys)]),
    )

    assert "unit interrupted" not in caplog.text
    assert sorted(runs) == sorted(keys * 2)
    assert set(SagaState.objects.values_list("state", flat=True)) == {'{"touches":2}'}


def test_a_step_that_fails_keeps_the_locks_of_the_others_of_its_unit(scenes: tuple[Scene, Scene]) -> None:
    runs: list[str] = []

    class Racing(Saga[Count], name="shop.Racing", correlate="order_id"):
        @starts(Placed)
        def begin(self, event: Placed) -> None: ...

        @on(Touched)
        def touch(self, event: Touched) -> None:
            runs.append(self.key)
            if runs == ["1"]:
                raise LookupError
            if self.key == "2" and len(runs) == 2:
                wait_until_somebody_waits()
            self.state.touches += 1

    first, second = scenes
    first.deliver(Placed(order_id="1"), Placed(order_id="2"))
    started = threading.Event()

    def begin_second() -> None:
        while not runs:
            started.wait(0.005)
        second.deliver(Touched(order_id="2"))

    at_once(lambda: first.deliver(Touched(order_id="1"), Touched(order_id="2")), begin_second)

    assert runs == ["1", "2", "2"]
    assert SagaState.objects.get(key="2").state == '{"touches":2}'


@pytest.mark.parametrize("concurrency", ["lock", "optimistic"])
def test_no_update_is_lost_among_many(scenes: tuple[Scene, Scene], concurrency: Any) -> None:
    class Racing(Saga[Count], name="shop.Racing", correlate="order_id", concurrency=concurrency):
        @starts_or_on(Touched)
        def touch(self, event: Touched) -> None:
            self.state.touches += 1

    first, second = scenes
    keys, each = ("1", "2", "3"), 40
    one = [first.record(Touched(order_id=key)) for _ in range(each) for key in keys]
    two = [second.record(Touched(order_id=key)) for _ in range(each) for key in reversed(keys)]

    at_once(lambda: deliver_all(first, one), lambda: deliver_all(second, two))
    while RetryMessage.objects.exists():
        first.retry()
        second.retry()

    states = SagaState.objects.order_by("key").values_list("key", "state", "version")
    assert list(states) == [(key, f'{{"touches":{2 * each}}}', 2 * each) for key in keys]
    assert SagaHistory.objects.count() == 2 * each * len(keys)


def deliver_all(scene: Scene, records: list[Any]) -> None:
    done = 0
    while done < len(records):
        done += scene.deliverer.deliver(records[done:], 10.0)
