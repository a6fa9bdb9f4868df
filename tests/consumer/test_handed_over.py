"""Handlers that run in another process: their messages wait in the database, and tasks say which row to handle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, connections, transaction
from django.db.models import F

from django_eventbus.consumer.handed_over import run_task
from django_eventbus.delivery.context import MessageContext
from django_eventbus.delivery.handover import Task, carried_by
from django_eventbus.delivery.registry import groups_of, handler, handlers
from django_eventbus.delivery.replay import replay
from django_eventbus.exceptions import Reject
from django_eventbus.models import DeadLetter, InboxMessage, OutboxMessage, RetryMessage
from tests.consumer.scene import Counted, Scene, counted, noted
from tests.shop.models import Effect

TIMEOUT = timedelta(seconds=100)


@pytest.fixture
def tasks() -> Iterator[list[Task]]:
    """The tasks that are sent, in order."""
    sent: list[Task] = []
    with carried_by(sent.extend):
        yield sent


def handles(
    scene: Scene, name: str = "far", fails: Callable[[Counted], object] = lambda event: None, **more: Any
) -> None:
    scene.handles(name, fails, handle_in="celery", timeout=TIMEOUT, **more)


def perform(scene: Scene, task: Task) -> None:
    (group,) = groups_of(scene.config).values()
    run_task(task, group=group, config=scene.config)


def let_pass(time: timedelta) -> None:
    RetryMessage.objects.update(available_at=F("available_at") - time)


def fail(event: Counted) -> None:
    raise ValueError("not now")


def test_a_message_waits_in_the_database_for_the_task_that_names_it(scene: Scene, tasks: list[Task]) -> None:
    handles(scene)

    scene.deliver(counted(1))

    (task,) = tasks
    row = RetryMessage.objects.get()
    assert (task.handler, task.key, task.attempt) == ("far", row.key, 1)
    assert row.available_at is not None
    assert timedelta() < row.available_at - datetime.now(UTC) <= TIMEOUT
    assert (noted("far"), InboxMessage.objects.count()) == ([], 1)


def test_a_task_applies_the_effects_once_however_often_it_runs(scene: Scene, tasks: list[Task]) -> None:
    handles(scene)
    scene.deliver(counted(1))

    perform(scene, tasks[0])
    perform(scene, tasks[0])
    scene.deliver(counted(1, offset=7))

    assert (noted("far"), len(tasks)) == ([1], 1)
    assert not RetryMessage.objects.exists()


def test_a_message_that_comes_again_while_its_task_is_out_sends_no_second_one(scene: Scene, tasks: list[Task]) -> None:
    handles(scene, idempotent=True)  # without an inbox row, the waiting row alone knows it

    scene.deliver(counted(1))
    scene.deliver(counted(1, offset=7))

    assert len(tasks) == 1


def test_a_key_does_not_wait_for_a_task(scene: Scene, tasks: list[Task]) -> None:
    handles(scene)
    scene.handles("near")

    scene.deliver(*[counted(n) for n in range(3)])
    for task in reversed(tasks):
        perform(scene, task)

    assert (noted("near"), noted("far")) == ([0, 1, 2], [2, 1, 0])


def test_no_task_is_sent_for_what_is_rolled_back(scene: Scene, tasks: list[Task]) -> None:
    def end_the_unit(event: Counted) -> None:
        connections["default"].cursor().execute("ROLLBACK")

    handles(scene)
    scene.handles("near", end_the_unit)

    scene.deliver(counted(1))

    assert [task.key for task in tasks] == [RetryMessage.objects.get(handler="far").key]


def test_a_lost_task_is_sent_again_after_the_timeout_and_then_ever_later(scene: Scene, tasks: list[Task]) -> None:
    handles(scene)
    scene.deliver(counted(1))

    waits = []
    for _ in range(3):
        let_pass(timedelta(seconds=-1))
        scene.deliverer.run_due_retries()
        before = len(tasks)
        row = RetryMessage.objects.get()
        assert row.available_at is not None
        waits.append(round((row.available_at - datetime.now(UTC)) / TIMEOUT))
        let_pass(row.available_at - datetime.now(UTC))
        scene.deliverer.run_due_retries()
        assert len(tasks) == before + 1

    assert waits == [1, 2, 4]
    assert len(set(tasks)) == 1
    perform(scene, tasks[0])
    assert noted("far") == [1]


def test_a_failed_task_is_tried_again_by_the_policy_and_its_duplicates_do_nothing(
    scene: Scene, tasks: list[Task]
) -> None:
    handles(scene, fails=lambda event: fail(event) if not Effect.objects.filter(handler="go").exists() else None)
    scene.deliver(counted(1))

    perform(scene, tasks[0])
    perform(scene, tasks[0])

    row = RetryMessage.objects.get()
    assert (row.attempts, row.sends, row.starts, row.error_type) == (1, 0, 0, "ValueError")
    assert len(tasks) == 1
    scene.retry()
    Effect.objects.create(handler="go")
    perform(scene, tasks[1])
    assert (tasks[1].attempt, noted("far")) == (2, [1])


def test_the_last_failure_makes_a_dead_letter_and_a_replay_sends_a_task(scene: Scene, tasks: list[Task]) -> None:
    seen: list[MessageContext] = []

    def function(event: Counted, context: MessageContext) -> None:
        seen.append(context)
        if not context.is_replay:
            raise ValueError("not now")

    handler(Counted, name="far", handle_in="celery")(function)
    scene.deliver(counted(1))
    for attempt in range(3):
        perform(scene, tasks[attempt])
        scene.retry()

    letter = DeadLetter.objects.get()
    assert (letter.handler, letter.attempts, letter.status) == ("far", 3, "dead")
    assert not RetryMessage.objects.exists()
    replay([letter.pk], actor="me", using="default")
    scene.retry()
    perform(scene, tasks[-1])
    letter.refresh_from_db()
    assert (letter.status, len(tasks), [context.attempt for context in seen]) == ("replayed", 4, [1, 2, 3, 1])


def test_a_message_that_kills_every_process_becomes_a_dead_letter(scene: Scene, tasks: list[Task]) -> None:
    handles(scene)
    scene.deliver(counted(1))
    (task,) = tasks

    for _ in range(3):
        with transaction.atomic():
            assert RetryMessage.objects.begin(task.key, attempt=1, timeout=TIMEOUT) is not None
    perform(scene, task)

    assert (DeadLetter.objects.get().reason, noted("far")) == ("process_died", [])
    assert not RetryMessage.objects.exists()


def test_outside_of_a_transaction_it_runs_at_least_once(scene: Scene, tasks: list[Task]) -> None:
    def refuse_transaction(event: Counted) -> None:
        assert not connections["default"].in_atomic_block

    handles(scene, fails=refuse_transaction, atomic=False)
    scene.deliver(counted(1))

    perform(scene, tasks[0])
    perform(scene, tasks[0])

    assert noted("far") == [1]
    assert not RetryMessage.objects.exists()


def test_a_coroutine_runs_too_and_what_it_returns_is_published(scene: Scene, tasks: list[Task]) -> None:
    async def function(event: Counted) -> Counted:
        await Effect.objects.acreate(handler="far", number=event.number)
        return event

    handler(Counted, name="far", handle_in="celery")(function)
    scene.deliver(counted(1))
    assert noted("far") == []

    perform(scene, tasks[0])

    assert (noted("far"), OutboxMessage.objects.count()) == ([1], 1)


def test_a_process_without_the_handler_leaves_the_message_alone(scene: Scene, tasks: list[Task]) -> None:
    handles(scene)
    scene.handles("near")
    scene.deliver(counted(1))
    (group,) = groups_of(scene.config).values()
    (task,) = tasks

    for name in ("gone", "near"):
        run_task(replace(task, handler=name), group=group, config=scene.config)
    run_task(task, group=None, config=scene.config)

    assert RetryMessage.objects.get().starts == 0


class AtWork:
    """Something that holds a row in a thread of its own, until it is told to go on."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._is_inside = threading.Event()
        self._may_end = threading.Event()
        self._work = work
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()
        assert self._is_inside.wait(20)

    def __exit__(self, *_: object) -> None:
        self._may_end.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def linger(self, *_: object) -> None:
        self._is_inside.set()
        assert self._may_end.wait(20)

    def _run(self) -> None:
        self._work()
        connections.close_all()


def as_a_task_does(task: Task, linger: Callable[[], None]) -> None:
    """Hold the row of a task that has outlived its timeout, and handle it in the end."""
    with transaction.atomic():
        (row,) = RetryMessage.objects.take(task.key, attempt=task.attempt)
        linger()
        Effect.objects.create(handler="far", number=row.position)
        RetryMessage.objects.finish([row.key])


@pytest.mark.postgres_only
def test_a_task_does_nothing_while_another_one_is_at_work(scene: Scene, tasks: list[Task]) -> None:
    at_work = AtWork(lambda: perform(scene, tasks[0]))
    handles(scene, fails=at_work.linger)
    scene.deliver(counted(1))

    with at_work:
        perform(scene, tasks[0])
        assert noted("far") == []

    assert noted("far") == [1]


@pytest.mark.postgres_only
def test_a_task_keeps_its_row_while_it_writes_down_that_its_handler_failed(scene: Scene, tasks: list[Task]) -> None:
    other = connection.copy()
    free: list[int] = []

    class Looking(Reject):
        def __str__(self) -> str:  # asked for when the dead letter is made
            with other.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM (SELECT FROM eventbus_retry FOR UPDATE SKIP LOCKED) free")
                free.append(cursor.fetchone()[0])
            return "no"

    def refuse(event: Counted) -> None:
        raise Looking("no")

    handles(scene, fails=refuse)
    scene.deliver(counted(1))

    perform(scene, tasks[0])
    other.close()

    assert DeadLetter.objects.get().exception_message == "no"
    assert free
    assert not any(free)


@pytest.mark.postgres_only
def test_who_consumes_neither_waits_for_a_task_at_work_nor_sends_another(scene: Scene, tasks: list[Task]) -> None:
    at_work = AtWork(lambda: as_a_task_does(tasks[0], at_work.linger))
    handles(scene)
    scene.handles("near")
    scene.deliver(counted(1))
    let_pass(TIMEOUT)

    with at_work:
        assert scene.deliverer.run_due_retries() == 1.0  # seconds until it looks again
        scene.deliver(counted(2))

    assert [task.key for task in tasks[1:]] == [RetryMessage.objects.get().key]  # of the second message
    assert (noted("near"), noted("far")) == ([1, 2], [1])


@pytest.mark.postgres_only
def test_a_handler_that_came_back_to_the_consumer_waits_for_a_task_at_work(scene: Scene, tasks: list[Task]) -> None:
    at_work = AtWork(lambda: as_a_task_does(tasks[0], at_work.linger))
    handles(scene)
    scene.deliver(counted(1), counted(2))
    let_pass(TIMEOUT)
    far = handlers.find("far")
    assert far is not None

    handlers.register(replace(far, handle_in=None))
    scene.deploy()
    with at_work:
        scene.deliverer.run_due_retries()
        assert noted("far") == [2]
    scene.deliverer.run_due_retries()

    assert noted("far") == [2, 1]
    assert not RetryMessage.objects.exists()


@pytest.mark.postgres_only
def test_what_waits_for_a_retired_handler_is_no_dead_letter_while_an_old_task_is_at_work(
    scene: Scene, tasks: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work = AtWork(lambda: as_a_task_does(tasks[0], at_work.linger))
    handles(scene)
    scene.deliver(counted(1), counted(2))
    let_pass(TIMEOUT)

    handlers._by_name.clear()
    scene.handles("near")
    monkeypatch.setattr(apps.get_app_config("shop"), "eventbus_retired_handlers", ("far",), raising=False)
    scene.deploy()
    with at_work:
        scene.deliverer.run_due_retries()
        assert [letter.position for letter in DeadLetter.objects.all()] == [2]
    scene.deliverer.run_due_retries()

    assert (noted("far"), DeadLetter.objects.get().reason) == ([1], "handler_retired")
    assert not RetryMessage.objects.exists()


@pytest.mark.postgres_only
def test_outages_that_the_process_outlives_are_no_deaths(scene: Scene, tasks: list[Task]) -> None:
    outages = iter(range(5))

    def lose_the_database(event: Counted) -> None:
        if next(outages, None) is not None:
            connection.cursor().execute("SELECT pg_terminate_backend(pg_backend_pid())")

    scene.handles("far", lose_the_database, handle_in="celery", timeout=0.05)  # the patience of a task, too
    scene.deliver(counted(1))

    starts = []
    for _ in range(5):
        perform(scene, tasks[0])
        starts.append(RetryMessage.objects.get().starts)
    perform(scene, tasks[0])

    assert starts == [1] * 5
    assert (noted("far"), DeadLetter.objects.count()) == ([1], 0)
