"""A message that is called back while it falls due is either cancelled or sent, never both and never neither."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test import override_settings

from django_eventbus.models import OutboxMessage, ScheduledMessage
from django_eventbus.models.relay import RelaySession
from django_eventbus.outbox.agenda import Agenda
from django_eventbus.outbox.scheduling import cancel, reschedule
from django_eventbus.outbox.shards import shards_of
from tests.outbox.dying_relay import POINTS
from tests.outbox.file_transport import read_lines
from tests.outbox.relaying import RecordingSender, bus_config, drain, eventually, new_message, relaying

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = bus_config()
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def schedule(*payloads: str, after: float = -1.0, key: str = "k") -> list[UUID]:
    due_at = datetime.now(UTC) + timedelta(seconds=after)
    messages = [new_message(payload, key=key) for payload in payloads]
    ScheduledMessage.objects.append(messages, due_at=due_at)
    return [message.event_id for message in messages]


@pytest.fixture
def elsewhere() -> Iterator[Callable[..., Future[Any]]]:
    """Run functions in threads, whose connections are their own."""
    with ThreadPoolExecutor(8) as pool:
        yield lambda work, *args: pool.submit(on_own_connection, work, *args)


def on_own_connection(work: Callable[..., Any], *args: Any) -> Any:
    try:
        return work(*args)
    finally:
        connections.close_all()


@pytest.fixture
def session() -> Iterator[RelaySession]:
    opened = RelaySession(CONFIG, shards=shards_of(0, shares=1), is_listening=False)
    yield opened
    opened.close()


def call_back(event_id: UUID) -> bool:
    with transaction.atomic():
        return cancel(CONFIG, event_id)


def put_off(event_id: UUID, moment: datetime) -> bool:
    with transaction.atomic():
        return reschedule(CONFIG, event_id, deliver_at=moment)


def is_somebody_blocked() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(BLOCKED)
        return bool(cursor.fetchone()[0])


@pytest.mark.postgres_only
@pytest.mark.parametrize("is_committing", [True, False])
def test_relay_passes_over_what_is_being_cancelled_and_its_end_decides(
    session: RelaySession, elsewhere: Callable[..., Future[bool]], is_committing: bool
) -> None:
    called_back, other = schedule("called back", "other")
    holds, may_end = threading.Event(), threading.Event()

    def hold() -> bool:
        with transaction.atomic():
            answer = cancel(CONFIG, called_back)
            holds.set()
            may_end.wait(20)
            transaction.set_rollback(not is_committing)
        return answer

    holder = elsewhere(hold)
    assert holds.wait(20)
    session.begin()
    moved = Agenda(session).move_due()
    session.commit()
    may_end.set()

    assert holder.result(20)
    assert moved == 1
    assert [row.event_id for row in OutboxMessage.objects.all()] == [other]
    sender = RecordingSender()
    drain(sender)
    assert sender.payloads == (["other"] if is_committing else ["other", "called back"])


@pytest.mark.postgres_only
@pytest.mark.parametrize("is_committing", [True, False])
@pytest.mark.parametrize("verb", ["cancel", "reschedule"])
def test_who_calls_back_what_is_being_moved_waits_for_the_move_to_decide(
    session: RelaySession, elsewhere: Callable[..., Future[bool]], verb: str, is_committing: bool
) -> None:
    [event_id] = schedule("p")
    later = datetime.now(UTC) + timedelta(hours=1)
    session.begin()
    assert Agenda(session).move_due() == 1

    caller = elsewhere(call_back, event_id) if verb == "cancel" else elsewhere(put_off, event_id, later)
    eventually(is_somebody_blocked)
    session.commit() if is_committing else session.rollback()

    was_waiting = caller.result(20)
    assert was_waiting is not is_committing
    sender = RecordingSender()
    drain(sender)
    assert sender.payloads == (["p"] if is_committing else [])
    assert ScheduledMessage.objects.filter(due_at=later).exists() is (was_waiting and verb == "reschedule")


@pytest.mark.postgres_only
def test_message_that_is_put_off_at_the_moment_of_the_move_is_moved_or_put_off(
    session: RelaySession, elsewhere: Callable[..., Future[bool]]
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    start = threading.Barrier(2)

    def put_off_at_start(event_id: UUID) -> bool:
        start.wait(10)
        return put_off(event_id, later)

    for _ in range(40):
        [event_id] = schedule("p")
        caller = elsewhere(put_off_at_start, event_id)
        session.begin()
        start.wait(10)
        moved = Agenda(session).move_due()
        session.commit()

        assert (moved, caller.result(20)) in {(1, False), (0, True)}
        assert OutboxMessage.objects.all().delete()[0] == moved
        assert ScheduledMessage.objects.filter(due_at=later).delete()[0] == 1 - moved


def test_many_that_are_called_back_as_they_fall_due_are_cancelled_or_sent(
    elsewhere: Callable[..., Future[None]],
) -> None:
    rows = {str(number): schedule(str(number), after=number / 400, key=f"key{number % 8}")[0] for number in range(600)}
    cancelled: set[str] = set()
    start = threading.Barrier(4)

    def call_back_some(seed: int) -> None:
        mine = [payload for payload in rows if int(payload) % 3 == seed]
        random.Random(seed).shuffle(mine)
        start.wait(10)
        for payload in mine:
            if call_back(rows[payload]):
                cancelled.add(payload)

    sender = RecordingSender()
    with relaying(sender):
        callers = [elsewhere(call_back_some, seed) for seed in range(3)]
        start.wait(10)
        for caller in callers:
            caller.result(20)
        eventually(lambda: not ScheduledMessage.objects.exists() and not OutboxMessage.objects.exists(), within=60)

    assert cancelled
    assert sender.payloads
    assert not cancelled & set(sender.payloads)
    assert sorted([*cancelled, *sender.payloads]) == sorted(rows)
    for number in range(8):
        sent = [int(payload) for payload in sender.of_key(f"key{number}")]
        assert sent == sorted(sent)


@pytest.mark.parametrize("point", POINTS)
def test_kill_on_the_way_of_a_due_message_leaves_it_cancelled_or_sent(
    child_environment: Callable[..., dict[str, str]], tmp_path: Path, point: str
) -> None:
    path = tmp_path / "sent"
    eventbus = {"default": {"TRANSPORT": "tests.outbox.file_transport.FileTransport", "OPTIONS": {"path": str(path)}}}
    rows = dict(zip("abcdef", schedule(*"abcdef"), strict=True))

    command = [sys.executable, "-m", "tests.outbox.dying_relay", point]
    died = subprocess.run(command, env=child_environment(eventbus), capture_output=True, text=True, timeout=60)
    assert died.returncode == -signal.SIGKILL, died.stderr
    cancelled = {payload for payload in "ace" if call_back(rows[payload])}
    with override_settings(EVENTBUS=eventbus):
        call_command("drain_outbox", until_empty=True, verbosity=0)

    sent = [line.payload for line in read_lines(path)]
    assert cancelled == (set("ace") if point == "before the move commits" else set())
    assert set(sent) == set("abcdef") - cancelled
    assert sent == sorted(sent) or point == "after it is sent"  # only then is anything repeated
    assert len(sent) == len(set(sent)) * (2 if point == "after it is sent" else 1)
