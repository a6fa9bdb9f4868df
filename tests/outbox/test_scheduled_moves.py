"""Do waiting messages come when they are due, in the order of their times, and not before?"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection

from django_eventbus.models import OutboxMessage, ScheduledMessage
from django_eventbus.models.relay import RelaySession
from django_eventbus.models.relay_plain import PlainSession
from django_eventbus.outbox import agenda, relay
from django_eventbus.outbox.shards import shards_of
from tests.outbox.relaying import RecordingSender, append, bus_config, drain, eventually, new_message, relaying

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = 3600.0


@pytest.fixture
def stranger() -> Iterator[psycopg.Connection[Any]]:
    """Another session of the same database."""
    parameters = connection.get_connection_params()
    for ours in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(ours, None)
    with psycopg.connect(**parameters) as session:
        yield session
        session.rollback()


def schedule(*payloads: str, after: float, key: str = "k", bus: str = "default") -> None:
    """Let messages be due this many seconds from now."""
    due_at = datetime.now(UTC) + timedelta(seconds=after)
    messages = [new_message(payload, key=key, bus=bus) for payload in payloads]
    ScheduledMessage.objects.append(messages, due_at=due_at)


def test_due_messages_are_sent_in_the_order_of_their_times_and_others_wait() -> None:
    schedule("c", after=-1)
    schedule("a1", "a2", after=-3)
    schedule("later", after=HOUR)
    schedule("b", after=-2)
    sender = RecordingSender()

    report = drain(sender)

    assert sender.payloads == ["a1", "a2", "b", "c"]
    assert report.is_empty
    assert [bytes(row.payload) for row in ScheduledMessage.objects.all()] == [b"later"]
    assert not OutboxMessage.objects.exists()


def test_due_message_goes_behind_what_its_key_has_in_the_outbox() -> None:
    append("published before")
    schedule("due", after=-1)
    sender = RecordingSender()

    drain(sender)

    assert sender.payloads == ["published before", "due"]


def test_moved_message_is_the_one_that_was_published() -> None:
    schedule("p", after=-60, key="tenant-1")
    began = datetime.now(UTC)
    ScheduledMessage.objects.update(created_at=began - timedelta(days=1))
    before = ScheduledMessage.objects.get()
    seen: list[OutboxMessage] = []
    sender = RecordingSender()
    sender.on_send = lambda: seen.extend(OutboxMessage.objects.all())

    drain(sender)

    [row] = seen
    same = ("event_id", "event_name", "bus", "shard", "topic", "headers")
    assert [getattr(row, name) for name in same] == [getattr(before, name) for name in same]
    assert (bytes(row.key or b""), bytes(row.payload)) == (b"tenant-1", b"p")
    assert row.created_at > began - timedelta(
        seconds=5
    )  # its place in the outbox, and its age there, begin with the move


def test_relay_sends_at_the_due_time_and_not_with_its_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "IDLE_PAUSE", 60.0)
    monkeypatch.setattr(relay, "BUSY_PAUSE", 60.0)
    patient = bus_config(grace=timedelta(seconds=240), wake_with="poll")
    schedule("due", after=1.5)
    due_at = ScheduledMessage.objects.get().due_at
    came: list[datetime] = []
    sender = RecordingSender()
    sender.on_send = lambda: came.append(datetime.now(UTC))

    with relaying(sender, patient):
        assert sender.has_sent.wait(20)

    assert came[0] >= due_at
    assert came[0] - due_at < timedelta(seconds=1)


def test_what_is_scheduled_to_come_earlier_wakes_the_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "IDLE_PAUSE", 60.0)
    monkeypatch.setattr(relay, "BUSY_PAUSE", 60.0)
    patient = bus_config(grace=timedelta(seconds=240), wake_with="poll")
    schedule("late", after=50)
    sender = RecordingSender()
    is_idle = threading.Event()

    with relaying(sender, patient, on_progress=lambda report: is_idle.set()) as running:
        assert is_idle.wait(10)
        schedule("early", after=0.3)
        running.wake()  # as the commit of a publish does
        assert sender.has_sent.wait(10)

    assert sender.payloads == ["early"]


def test_many_due_messages_leave_in_several_moves_and_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda, "FIRST_MOVE", 7)
    monkeypatch.setattr(agenda, "MOST", 20)
    for number in range(100):
        schedule(str(number), after=number - 200)
    sender = RecordingSender()

    report = drain(sender)

    assert sender.payloads == [str(number) for number in range(100)]
    assert report.is_empty


def test_slow_moves_become_small_and_fast_ones_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda, "FIRST_MOVE", 8)
    monkeypatch.setattr(agenda, "MOST", 32)
    schedule(*map(str, range(200)), after=-1)

    sizes = moves_until_empty()
    assert sizes[:4] == [8, 16, 32, 32]

    schedule(*map(str, range(20)), after=-1)
    monkeypatch.setattr(agenda, "SLOW", -1.0)
    assert moves_until_empty() == [8, 4, 2, 1, 1, 1, 1, 1, 1]


def moves_until_empty() -> list[int]:
    mover, sizes = agenda.Agenda(PlainSession(bus_config())), []
    while moved := mover.move_due():
        sizes.append(moved)
    return sizes


def test_each_bus_moves_its_own() -> None:
    schedule("ours", after=-1)
    schedule("theirs", after=-1, bus="audit")
    sender = RecordingSender()

    drain(sender)

    assert sender.payloads == ["ours"]
    assert ScheduledMessage.objects.count() == 1


@pytest.mark.postgres_only
def test_relays_with_shares_move_what_is_theirs() -> None:
    for number in range(300):
        schedule(str(number), after=-1, key=f"key{number % 30}")
    senders = [RecordingSender(), RecordingSender()]

    with relaying(senders[0], share=0, shares=2), relaying(senders[1], share=1, shares=2):
        eventually(lambda: len(senders[0].sent) + len(senders[1].sent) == 300, within=60)

    assert sorted(map(int, senders[0].payloads + senders[1].payloads)) == list(range(300))
    for number in range(30):
        wanted = [str(each) for each in range(number, 300, 30)]
        assert senders[0].of_key(f"key{number}") + senders[1].of_key(f"key{number}") == wanted


def test_message_whose_publisher_commits_after_its_time_is_sent_all_the_same() -> None:
    sender = RecordingSender()

    with relaying(sender):
        schedule("1", after=-1)
        eventually(lambda: sender.payloads == ["1"])
        schedule("long ago", after=-HOUR)
        eventually(lambda: sender.payloads == ["1", "long ago"])


@pytest.mark.postgres_only
def test_beside_an_old_snapshot_a_look_after_many_moves_stays_cheap(
    stranger: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "FULL_LOOKS", 0.0001)  # the second look shall not be a full one, however slow this is
    stranger.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    stranger.execute("SELECT count(*) FROM eventbus_scheduled")
    schedule("later", after=HOUR)
    for _ in range(20):
        schedule(*map(str, range(1000)), after=-1)
    drain(RecordingSender())
    pages = {"first": 0, "next": 0}

    session = RelaySession(bus_config(), shards=shards_of(0, shares=1), is_listening=False)
    mover = agenda.Agenda(session)
    schedule("due", after=-1)
    try:
        for look in pages:
            session.begin()
            before = pages_read(session)
            mover.move_due()
            pages[look] = pages_read(session) - before
            session.commit()
    finally:
        session.close()

    assert pages["first"] > 100
    assert pages["next"] < 50


def pages_read(session: RelaySession) -> int:
    """Return how many pages of the index this session has visited."""
    session.execute("SELECT pg_stat_clear_snapshot()")
    name = "eventbus_scheduled_due"
    visited = "pg_stat_get_xact_blocks_fetched(%s::regclass)"
    return int(session.fetch(f"SELECT {visited}", [name])[0][0])


def test_an_outbox_with_something_due_is_not_empty() -> None:
    holder, waiting = RecordingSender(), RecordingSender()
    may_go = threading.Event()

    def pause() -> None:
        may_go.wait(10)

    holder.on_send = pause
    with relaying(holder):
        append("1")
        eventually(lambda: holder.batches)
        schedule("due", after=-1)
        report = drain(waiting, timeout=1)
        may_go.set()

    assert not report.is_empty
