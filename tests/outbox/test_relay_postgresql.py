"""What can happen around a relay on a PostgreSQL that others use at the same time."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection, connections, transaction

from django_eventbus.conf import BusConfig
from django_eventbus.models import ControlFlag, OutboxMessage, ParkedMessage
from django_eventbus.models.relay import RelaySession
from django_eventbus.outbox import reader
from django_eventbus.outbox.composition import LONGEST_KEY
from django_eventbus.outbox.reader import WindowReader
from django_eventbus.outbox.shards import shards_of
from django_eventbus.transports.base import FailureKind
from tests.outbox.relaying import (
    RecordingSender,
    append,
    bus_config,
    drain,
    eventually,
    failing,
    new_message,
    relaying,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres_only]

INSERT = """
INSERT INTO eventbus_outbox (event_id, bus, shard, topic, key, headers, payload, event_name)
VALUES (gen_random_uuid(), %s, 0, 'orders', %s, '', %s, 'x')
"""


@pytest.fixture
def bus() -> int:
    return ControlFlag.objects.bus_number("default")


@pytest.fixture
def stranger() -> Iterator[psycopg.Connection[Any]]:
    """Another session of the same database."""
    parameters = connection.get_connection_params()
    for ours in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(ours, None)
    with psycopg.connect(**parameters) as session:
        yield session
        session.rollback()


@pytest.fixture
def session() -> Iterator[RelaySession]:
    opened = RelaySession(bus_config(), shards=shards_of(0, shares=1), is_listening=False)
    yield opened
    opened.close()


def insert(session: psycopg.Connection[Any], bus: int, payload: str, *, key: str = "k") -> None:
    session.execute(INSERT, [bus, key.encode(), payload.encode()])


def test_a_row_with_a_lower_id_that_commits_later_is_sent(stranger: psycopg.Connection[Any], bus: int) -> None:
    insert(stranger, bus, "early id, late commit", key="other")
    append("1", "2")
    sender = RecordingSender()

    with relaying(sender):
        eventually(lambda: sender.payloads == ["1", "2"])
        append("3")
        eventually(lambda: len(sender.sent) == 3)
        stranger.commit()
        eventually(lambda: len(sender.sent) == 4)

    assert sender.payloads == ["1", "2", "3", "early id, late commit"]


def test_a_row_of_a_prepared_transaction_is_sent_when_that_commits(stranger: psycopg.Connection[Any], bus: int) -> None:
    insert(stranger, bus, "prepared")
    stranger.execute("PREPARE TRANSACTION 'relay-test'")
    stranger.commit()
    append("1")
    sender = RecordingSender()

    with relaying(sender):
        eventually(lambda: sender.payloads == ["1"])
        time.sleep(3 * reader.LOOK_INTERVAL)  # several looks, at which the floor must not pass
        stranger.autocommit = True
        stranger.execute("COMMIT PREPARED 'relay-test'")
        eventually(lambda: sender.payloads == ["1", "prepared"])


def test_what_savepoints_and_transactions_take_back_is_never_sent() -> None:
    with transaction.atomic():
        append("1")
        with transaction.atomic():
            append("taken back")
            transaction.set_rollback(True)
        append("2")
    with transaction.atomic():
        append("never")
        transaction.set_rollback(True)
    sender = RecordingSender()

    drain(sender)

    assert sender.payloads == ["1", "2"]


def test_many_writers_of_shared_keys_lose_nothing_and_keep_the_order_of_their_commits() -> None:
    """Each key has a row that its writers lock before they publish, as an order of the shop would be."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE relay_test_counter (key text PRIMARY KEY, value integer NOT NULL)")
        cursor.execute("INSERT INTO relay_test_counter SELECT 'key' || g, 0 FROM generate_series(0, 3) g")
    sender = RecordingSender()
    committed: list[list[str]] = []

    def write(seed: int) -> None:
        done = []
        try:
            for number in range(60):
                key = f"key{(seed + number * 7) % 4}"
                with transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute(
                        "UPDATE relay_test_counter SET value = value + 1 WHERE key = %s RETURNING value", [key]
                    )
                    append(f"{key}:{cursor.fetchone()[0]}", key=key)
                    if number % 9 == 0:
                        transaction.set_rollback(True)
                    else:
                        done.append(key)
        finally:
            committed.append(done)
            connections.close_all()

    try:
        with relaying(sender, bus_config(batch_size=7)):
            writers = [threading.Thread(target=write, args=(seed,)) for seed in range(6)]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.join()
            total = sum(map(len, committed))
            eventually(lambda: len(sender.sent) >= total)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE relay_test_counter")

    assert len(sender.sent) == total
    for key in ("key0", "key1", "key2", "key3"):
        count = sum(done.count(key) for done in committed)
        assert sender.of_key(key) == [f"{key}:{number}" for number in range(1, count + 1)]


def test_with_an_old_snapshot_held_elsewhere_an_empty_look_stays_cheap(
    stranger: psycopg.Connection[Any], session: RelaySession, bus: int
) -> None:
    stranger.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    stranger.execute("SELECT count(*) FROM eventbus_outbox")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO eventbus_outbox (event_id, bus, shard, topic, key, headers, payload, event_name)"
            " SELECT gen_random_uuid(), %s, g %% 64, 'orders', 'k', '', 'p', 'x' FROM generate_series(1, 20000) g",
            [bus],
        )
    window = WindowReader(session, limit=1000)

    def step() -> int:
        assert session.begin()
        ids = [row[0] for row in window.read()]
        session.remove_sent(ids)
        session.commit()
        window.learn(set(ids))
        return len(ids)

    while step():
        pass
    time.sleep(reader.LOOK_INTERVAL)
    step()

    assert pages_of_next_read(session, window) < 50


def pages_of_next_read(session: RelaySession, window: WindowReader) -> int:
    session.begin()
    explain = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT id FROM eventbus_outbox WHERE id > %s ORDER BY id LIMIT 9"
    plan = session.fetch(explain, [window.window.after])[0][0]
    session.rollback()
    return int(plan[0]["Plan"]["Shared Hit Blocks"])


def test_while_a_writer_stays_open_only_the_open_ids_are_read_again(
    stranger: psycopg.Connection[Any], session: RelaySession, bus: int
) -> None:
    window = WindowReader(session, limit=20)
    session.begin()
    window.read()
    session.commit()
    window.learn(set())
    insert(stranger, bus, "open", key="other")
    append(*map(str, range(50)))

    for _ in range(5):
        session.begin()
        ids = [row[0] for row in window.read()]
        session.remove_sent(ids)
        session.commit()
        window.learn(set(ids))

    first = window.window.ranges[0]
    assert window.window.ranges == (first,)
    assert first[0] == first[1]
    stranger.commit()
    session.begin()
    assert [row[4] for row in window.read()] == [b"open"]
    session.rollback()


def test_foreign_buses_leave_no_ranges_that_stay_open(session: RelaySession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LOOK_INTERVAL", 0.0)
    for number in range(40):
        append(str(number), bus="default" if number % 2 else "audit")
    window = WindowReader(session, limit=5)

    for _ in range(10):
        session.begin()
        ids = [row[0] for row in window.read()]
        session.remove_sent(ids)
        session.commit()
        window.learn(set(ids))

    assert window.window.ranges == ()
    assert OutboxMessage.objects.count() == 20


def test_relays_with_shares_send_each_row_once_and_all_of_them() -> None:
    keys = [f"key{number % 100}" for number in range(2000)]
    OutboxMessage.objects.append([new_message(str(number), key=key) for number, key in enumerate(keys)])
    senders = [RecordingSender(), RecordingSender()]

    with relaying(senders[0], share=0, shares=2), relaying(senders[1], share=1, shares=2):
        eventually(lambda: not OutboxMessage.objects.exists(), within=60)

    assert sorted(map(int, senders[0].payloads + senders[1].payloads)) == list(range(2000))
    assert all(sender.sent for sender in senders)
    assert not {row[2] for row in senders[0].sent} & {row[2] for row in senders[1].sent}


def test_a_second_relay_stands_by_and_takes_over_when_the_first_stops() -> None:
    first, second = RecordingSender(), RecordingSender()
    patient = bus_config(grace=timedelta(seconds=30))  # a starved machine must not look like a frozen relay

    with ExitStack() as standing_by:
        with relaying(first, patient) as running:
            append("1")
            eventually(lambda: first.payloads == ["1"])
            standby = standing_by.enter_context(relaying(second, patient))
            eventually(lambda: standby._state == "standby")
            append("2")
            running.wake()
            eventually(lambda: first.payloads == ["1", "2"])
        append("3")
        eventually(lambda: second.payloads == ["3"], within=20)


def test_a_standby_reports_an_empty_outbox_that_another_relay_has_emptied() -> None:
    first, second = RecordingSender(), RecordingSender()

    with relaying(first):
        append("1")
        eventually(lambda: first.sent)
        report = drain(second)

    assert report.is_empty
    assert not second.sent


def test_a_relay_whose_sessions_are_terminated_comes_back_and_loses_nothing(bus: int) -> None:
    sender = RecordingSender()

    with relaying(sender):
        append("1")
        eventually(lambda: sender.payloads == ["1"])
        for _ in range(3):
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'django_eventbus relay' AND datname = current_database()"
                )
            append("again")
            count = len(sender.sent)
            eventually(lambda count=count: len(sender.sent) > count)  # type: ignore[misc]

    assert set(sender.payloads) == {"1", "again"}
    assert not OutboxMessage.objects.exists()


def test_a_notice_wakes_an_idle_relay_at_once() -> None:
    sender = RecordingSender()

    with relaying(sender, bus_config(grace=timedelta(seconds=30))) as running:
        eventually(lambda: running._idle_pause == 1.0)
        append("1")
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY eventbus_outbox_{ControlFlag.objects.bus_number('default')}")
        assert sender.has_sent.wait(0.5)


def test_an_idle_relay_holds_its_locks_but_nothing_that_would_keep_vacuum_waiting() -> None:
    with relaying(RecordingSender(), bus_config(grace=timedelta(seconds=30))) as running:
        eventually(lambda: running._idle_pause == 1.0)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FILTER (WHERE a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL), count(*)"
                " FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
                " WHERE l.locktype = 'advisory' AND l.classid = 'eventbus_outbox'::regclass::oid AND l.granted"
                " AND a.datname = current_database() AND a.state = 'idle in transaction'"
                " AND a.application_name = 'django_eventbus relay'"
            )
            harmful, held = cursor.fetchone()

    assert (harmful, held) == (0, 64)


def test_a_session_that_holds_the_locks_longer_than_grace_is_evicted(session: RelaySession) -> None:
    assert session.begin()
    append("1")
    sender = RecordingSender()
    began = time.monotonic()

    with relaying(sender, bus_config(grace=timedelta(seconds=1))):
        eventually(lambda: sender.payloads == ["1"], within=20)

    assert time.monotonic() - began >= 0.9
    with pytest.raises(psycopg.OperationalError):
        session.commit()


def test_relays_of_two_buses_do_not_share_locks(session: RelaySession) -> None:
    assert session.begin()
    append("1", bus="audit")
    sender = RecordingSender()

    drain(sender, bus_config("audit"), timeout=3)

    assert sender.payloads == ["1"]
    session.rollback()


def test_a_standby_of_all_shards_takes_no_lock_of_those_behind_the_first_that_is_held(session: RelaySession) -> None:
    half = RelaySession(bus_config(), shards=shards_of(0, shares=2), is_listening=False)
    other = RelaySession(bus_config(), shards=shards_of(1, shares=2), is_listening=False)
    assert half.begin()

    assert not session.begin()
    assert other.begin()

    half.close()
    other.close()


def test_what_waits_in_lanes_survives_a_change_of_the_relay() -> None:
    append("1", "2", key="bad")
    first, second = RecordingSender(), RecordingSender()
    first.rule = failing(FailureKind.OTHER, key="bad")
    drain(first, timeout=0.2)

    append("3", key="bad")
    drain(second, timeout=6)

    assert second.of_key("bad") == ["1", "2", "3"]


def test_without_a_notice_and_without_a_listener_polling_finds_the_row() -> None:
    config: BusConfig = bus_config(wake_with="poll")
    sender = RecordingSender()

    with relaying(sender, config):
        append("1")
        eventually(lambda: sender.payloads == ["1"], within=20)


def test_rows_that_appear_below_the_window_are_found_by_the_rescan_and_the_relay_goes_on_from_there(
    monkeypatch: pytest.MonkeyPatch, stranger: psycopg.Connection[Any]
) -> None:
    """An operator empties the table and resets the sequence under a running relay."""
    monkeypatch.setattr(reader, "RESCAN_INTERVAL", 0.3)
    sender = RecordingSender()

    with relaying(sender) as running:
        append(*map(str, range(20)))
        eventually(lambda: len(sender.sent) == 20)
        reading: Any = running._reader
        eventually(lambda: reading.window.floor == reading.window.cursor > 0)  # no id below is looked at any more
        stranger.execute("LOCK TABLE eventbus_outbox; TRUNCATE eventbus_outbox RESTART IDENTITY")
        stranger.commit()
        append("after the reset")
        eventually(lambda: len(sender.sent) == 21)
        monkeypatch.setattr(reader, "RESCAN_INTERVAL", 60)
        time.sleep(0.5)  # the last rescan that the short interval had planned
        append("next")
        eventually(lambda: len(sender.sent) == 22)

    assert sender.payloads[-2:] == ["after the reset", "next"]


def test_the_longest_key_that_can_be_published_can_wait() -> None:
    letters = random.Random(1).choices([chr(code) for code in range(33, 127)], k=LONGEST_KEY)  # hardly compressible
    key, topic = "".join(letters), "t" * 249
    append("1", "2", key=key, topic=topic)
    sender = RecordingSender()
    sender.rule = failing(FailureKind.OTHER, topic=topic)

    drain(sender, timeout=1)

    assert ParkedMessage.objects.count() == 2
