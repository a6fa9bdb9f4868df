"""What a worker promises, over a broker in memory and a real database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import connection, connections
from django.utils import timezone

from django_eventbus.consumer.handed_over import run_task
from django_eventbus.consumer.membership import WorkerReport
from django_eventbus.consumer.worker import Worker
from django_eventbus.delivery.handover import Task, carried_by
from django_eventbus.delivery.registry import groups_of, handler
from django_eventbus.events.envelope import join_headers
from django_eventbus.models import PartitionEpoch, RetryMessage
from django_eventbus.models.partition import LOCK
from django_eventbus.signals import message_handled
from django_eventbus.transports.memory import MemoryTransport
from tests.consumer.scene import TOPIC, Counted, Scene, config, counted, noted
from tests.shop.models import Effect


class Stage:
    """A broker in memory, and workers in threads of their own."""

    def __init__(self, *, partitions: int = 4, **settings: Any) -> None:
        consumer = {"CONCURRENCY": 4, "GRACE": 2, "SHUTDOWN_TIMEOUT": 10} | settings.pop("CONSUMER", {})
        self.config = config(CONSUMER=consumer, CREATE_TOPICS=True, **settings)
        self.transport = MemoryTransport(self.config)
        self.transport.broker.create_topic(TOPIC, partitions=partitions)
        self.handles = Scene.handles.__get__(self)
        self.stops: list[threading.Event] = []
        self.threads: list[threading.Thread] = []
        self.reports: list[WorkerReport] = []

    def send(self, number: int, key: str | None = "a", **more: Any) -> None:
        record = counted(number, key, **more)
        headers = join_headers((name, (value or b"").decode()) for name, value in record.headers)
        failure = self.transport.broker.receive((number, TOPIC, record.key, headers, record.value))
        assert failure is None

    def worker(self, **options: Any) -> Worker:
        (group,) = groups_of(self.config).values()
        return Worker(self.config, group, self.transport, **options)

    def start(self, **options: Any) -> None:
        worker, stop = self.worker(instance=str(len(self.threads))), threading.Event()

        def run() -> None:
            try:
                self.reports.append(worker.run(stop, **options))
            finally:
                connections.close_all()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.stops.append(stop)
        self.threads.append(thread)

    def run(self, **options: Any) -> WorkerReport:
        return self.worker().run(threading.Event(), **{"timeout": 20.0, "until_caught_up": True, **options})

    def stop(self) -> None:
        for stop in self.stops:
            stop.set()
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()


def eventually(condition: Callable[[], object], *, within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def stage(transactional_db: None) -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.stop()


pytestmark = pytest.mark.postgres_only


def test_a_worker_handles_all_there_is_and_stops(stage: Stage) -> None:
    stage.handles("first")
    for n in range(400):
        stage.send(n, f"k{n % 20}")

    report = stage.run()

    assert report.is_caught_up
    assert report.messages == report.handled == 400
    assert sorted(noted("first")) == list(range(400))
    assert all(noted("first", f"k{k}") == list(range(k, 400, 20)) for k in range(20))
    assert set(PartitionEpoch.objects.values_list("is_clean", flat=True)) == {True}


def test_what_no_handler_gets_is_counted_too(stage: Stage) -> None:
    ignored: list[str] = []

    def hear(outcome: str, envelopes: Sequence[Any], **details: Any) -> None:
        if outcome == "ignored":
            ignored.extend(envelope.event_name for envelope in envelopes)

    stage.handles("first")
    stage.send(1)
    stage.send(2, value=b"{")
    stage.send(3, value=None)
    unknown = [("ce_specversion", "1.0"), ("ce_id", "4"), ("ce_type", "shop.unheard"), ("ce_source", "/tests")]
    stage.transport.broker.receive((4, TOPIC, b"a", join_headers(unknown), b"{}"))

    message_handled.connect(hear)
    try:
        report = stage.run()
    finally:
        message_handled.disconnect(hear)

    assert (report.messages, report.handled, report.dead_lettered, report.skipped) == (4, 1, 1, 2)
    assert ignored == ["shop.unheard"]


def test_a_key_keeps_its_order_while_one_of_its_messages_is_retried(stage: Stage) -> None:
    failed: list[int] = []

    def fails_once(event: Counted) -> None:
        if event.number % 7 == 0 and event.number not in failed:
            failed.append(event.number)
            raise ValueError

    stage.config = config(
        CONSUMER={"CONCURRENCY": 4}, CREATE_TOPICS=True, RETRY={"DELAYS": (0.05,), "JITTER": 0, "MAX_ATTEMPTS": 3}
    )
    stage.handles("flaky", fails_once)
    for n in range(300):
        stage.send(n, f"k{n % 10}")

    stage.start()

    eventually(lambda: len(noted("flaky")) == 300)
    stage.stop()
    assert all(noted("flaky", f"k{k}") == list(range(k, 300, 10)) for k in range(10))
    assert not RetryMessage.objects.exists()


def test_two_members_share_the_partitions_and_hand_them_over(stage: Stage) -> None:
    stage.handles("first", lambda event: time.sleep(0.002))
    for n in range(300):
        stage.send(n, f"k{n % 20}")

    stage.start()
    eventually(lambda: len(noted("first")) > 20)
    stage.start()
    for n in range(300, 600):
        stage.send(n, f"k{n % 20}")
    eventually(lambda: len(noted("first")) == 600)
    stage.stop()

    assert all(noted("first", f"k{k}") == list(range(k, 600, 20)) for k in range(20))
    assert len(set(PartitionEpoch.objects.values_list("owner", flat=True))) >= 1
    assert all(report.handled > 0 for report in stage.reports)


def test_max_messages_ends_after_that_many(stage: Stage) -> None:
    stage.handles("first")
    for n in range(50):
        stage.send(n, f"k{n}")

    report = stage.run(max_messages=10, until_caught_up=False)

    assert report.messages == 10
    assert len(noted("first")) == 10


def test_a_timeout_is_reported(stage: Stage) -> None:
    stage.handles("first")

    report = stage.run(timeout=0.5, until_caught_up=False)

    assert report.is_timed_out


def test_until_caught_up_runs_retries_that_are_due_though_nothing_is_new(stage: Stage) -> None:
    attempts: list[int] = []

    def fails_once(event: Counted) -> None:
        attempts.append(event.number)
        if len(attempts) == 1:
            raise ValueError

    stage.config = config(CREATE_TOPICS=True, RETRY={"DELAYS": (0.3,), "JITTER": 0, "MAX_ATTEMPTS": 2})
    stage.handles("flaky", fails_once)
    stage.send(1)
    first = stage.run()
    eventually(lambda: RetryMessage.objects.filter(available_at__lte=timezone.now()).exists())

    second = stage.run()

    assert (first.retried, second.messages, second.handled) == (1, 0, 1)
    assert second.is_caught_up


def test_async_handlers_run_side_by_side_and_each_in_its_own_transaction(stage: Stage) -> None:
    import asyncio

    from django_eventbus.delivery.registry import handler
    from tests.shop.models import Effect

    running: list[int] = []
    most: list[int] = []

    @handler(Counted, name="tests.waits")
    async def waits(event: Counted) -> None:
        running.append(event.number)
        most.append(len(running))
        await Effect.objects.acreate(handler="waits", key=event.key, number=event.number)
        await asyncio.sleep(0.05)
        running.remove(event.number)
        if event.number == 5:
            raise ValueError

    for n in range(12):
        stage.send(n, f"k{n}")

    stage.run()

    assert sorted(noted("waits")) == [n for n in range(12) if n != 5]
    assert max(most) == 4
    assert RetryMessage.objects.count() == 1


def test_async_handlers_go_on_carefully_after_an_owner_that_died(stage: Stage) -> None:
    from django_eventbus.delivery.registry import handler
    from tests.shop.models import Effect

    @handler(Counted, name="tests.goes_on")
    async def goes_on(event: Counted) -> None:
        await Effect.objects.acreate(handler="goes_on", key=event.key, number=event.number)

    stage.send(0)
    stage.run()
    PartitionEpoch.objects.update(is_clean=False)
    for n in range(1, 4):
        stage.send(n)

    report = stage.run(timeout=10.0)

    assert report.is_caught_up
    assert noted("goes_on") == [0, 1, 2, 3]
    assert all(not row.deaths for row in PartitionEpoch.objects.all())


def test_batch_handlers_get_lists_and_a_bad_message_fails_alone(stage: Stage) -> None:
    from django_eventbus.delivery.registry import handler
    from tests.shop.models import Effect

    sizes: list[int] = []

    @handler(Counted, name="tests.bulk", batch=64)
    def bulk(events: list[Counted]) -> None:
        sizes.append(len(events))
        Effect.objects.bulk_create([Effect(handler="bulk", key=e.key, number=e.number) for e in events])
        if any(e.number == 33 for e in events):
            raise ValueError

    for n in range(200):
        stage.send(n, f"k{n % 50}")

    stage.run()

    # 33 fails alone; 83, 133 and 183 have its key and wait behind it.
    assert sorted(noted("bulk")) == [n for n in range(200) if n % 50 != 33]
    assert RetryMessage.objects.count() == 4
    timed = RetryMessage.objects.get(available_at__isnull=False)
    assert timed.attempts == 1
    assert not RetryMessage.objects.filter(position__lt=timed.position).exists()
    assert max(sizes) > 20


def test_base_exceptions_of_a_handler_end_no_thread(stage: Stage) -> None:
    escapes = {1: SystemExit, 2: KeyboardInterrupt, 3: GeneratorExit}

    def escape(event: Counted) -> None:
        if event.number in escapes:
            raise escapes[event.number]

    stage.handles("escaping", escape)
    for n in range(6):
        stage.send(n, f"k{n}")

    report = stage.run()

    assert report.is_caught_up
    assert sorted(noted("escaping")) == [0, 4, 5]
    assert sorted(RetryMessage.objects.values_list("attempts", flat=True)) == [1, 1, 1]


def test_what_waits_for_a_topic_that_is_no_longer_read_is_not_stuck(stage: Stage) -> None:
    fails = [True]

    def fail(event: Counted) -> None:
        if fails:
            raise ValueError

    stage.handles("moved", fail)
    stage.send(1)
    stage.run()
    row = RetryMessage.objects.get()
    PartitionEpoch.objects.filter(id=row.partition_id).update(topic="gone")
    RetryMessage.objects.update(available_at="2020-01-01T00:00:00Z")
    fails.clear()

    stage.start()

    eventually(lambda: noted("moved") == [1])
    eventually(lambda: not RetryMessage.objects.exists())


def test_io_handlers_of_different_keys_run_side_by_side(stage: Stage) -> None:
    running: list[int] = []
    most: list[int] = []

    def wait(event: Counted) -> None:
        running.append(event.number)
        most.append(len(running))
        time.sleep(0.02)
        running.remove(event.number)

    stage.handles("waiting", wait)
    for n in range(64):
        stage.send(n, f"k{n}")

    stage.run()

    assert max(most) == 4


@pytest.fixture
def frozen_owner(stage: Stage) -> Iterator[psycopg.Connection[Any]]:
    """A session that works on partition 0 for ever; everybody else comes under a role that may not end it."""
    row = PartitionEpoch.objects.create(group=stage.config.group, topic=TOPIC, number=0)
    settings, role = connection.settings_dict, "may_end_nobody"
    with connection.cursor() as cursor:
        cursor.execute(f"DROP ROLE IF EXISTS {role}")
        cursor.execute(f"CREATE ROLE {role} LOGIN")
        cursor.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        cursor.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
    own = {"host": settings["HOST"], "port": settings["PORT"], "user": settings["USER"], "dbname": settings["NAME"]}
    user, settings["USER"] = settings["USER"], role
    connection.close()
    with psycopg.connect(**own) as owner:
        lock = LOCK.replace("pg_advisory_xact_lock", "pg_advisory_xact_lock_shared")
        owner.execute(f"SELECT {lock}", [row.id])
        yield owner
    settings["USER"] = user
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute(f"DROP OWNED BY {role}")
        cursor.execute(f"DROP ROLE {role}")


def test_an_owner_that_may_not_be_evicted_holds_up_its_own_partition_only(
    stage: Stage, frozen_owner: psycopg.Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    stage.handles("first")
    stage.start()
    eventually(lambda: "frozen owner not evicted" in caplog.text)
    for n in range(40):
        stage.send(n, f"k{n}")
    eventually(lambda: 0 < len(noted("first")) < 40)

    frozen_owner.rollback()

    eventually(lambda: sorted(noted("first")) == list(range(40)))
    assert "one database role" in caplog.text


def test_a_worker_hands_over_what_runs_elsewhere_and_sends_lost_tasks_again(stage: Stage) -> None:
    async def wait_for_nothing(event: Counted) -> None:
        await Effect.objects.acreate(handler="async", number=event.number)

    stage.handles("near")
    stage.handles("far", handle_in="celery", timeout=1.5)
    handler(Counted, name="async", handle_in="celery", timeout=1.5)(wait_for_nothing)
    for n in range(30):
        stage.send(n, f"k{n % 3}")
    (group,) = groups_of(stage.config).values()
    lost: set[UUID] = set()

    def lose_each_once(tasks: Sequence[Task]) -> None:
        for task in tasks:
            if task.key in lost:
                run_task(task, group=group, config=stage.config)
            lost.add(task.key)

    with carried_by(lose_each_once):
        stage.start()
        eventually(lambda: len(noted("near")) == 30 and not RetryMessage.objects.exists())
        stage.stop()

    assert len(lost) == 60
    assert sorted(noted("far")) == sorted(noted("async")) == list(range(30))
    assert [noted("near", f"k{k}") for k in range(3)] == [list(range(k, 30, 3)) for k in range(3)]
