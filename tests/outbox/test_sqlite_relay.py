from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection, connections, transaction

from django_eventbus.models import OutboxMessage
from django_eventbus.outbox.sqlite import SqliteSession
from tests.outbox.relaying import RecordingSender, append, bus_config, drain, eventually, relaying

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sqlite_only]


@pytest.fixture
def session() -> Iterator[SqliteSession]:
    opened = SqliteSession(bus_config())
    yield opened
    opened.close()


def test_only_one_relay_of_a_bus_works_and_another_bus_has_its_own(session: SqliteSession) -> None:
    second, audit = SqliteSession(bus_config()), SqliteSession(bus_config("audit"))

    assert session.begin()
    assert not second.begin()
    assert audit.begin()

    session.close()
    assert second.begin()
    second.close()
    audit.close()


def test_the_lock_is_a_file_beside_the_database(session: SqliteSession) -> None:
    session.begin()

    assert Path(f"{connection.settings_dict['NAME']}.default.relay").exists()


def test_while_messages_are_sent_others_can_write() -> None:
    append("1")
    sender = RecordingSender()
    may_go, is_sending = threading.Event(), threading.Event()

    def pause() -> None:
        is_sending.set()
        may_go.wait(5)

    sender.on_send = pause
    with relaying(sender):
        assert is_sending.wait(5)
        with transaction.atomic():
            append("2")
        may_go.set()
        eventually(lambda: sender.payloads == ["1", "2"])


def test_a_writer_that_holds_the_database_delays_the_relay_and_loses_nothing() -> None:
    append("1")
    sender = RecordingSender()

    with relaying(sender):
        with transaction.atomic():
            append("2")
            eventually(lambda: sender.batches)
        eventually(lambda: not OutboxMessage.objects.exists())

    assert list(dict.fromkeys(sender.payloads)) == ["1", "2"]


def test_relays_of_many_shares_leave_all_work_to_the_one_that_holds_the_lock() -> None:
    append("1", key="a")
    append("2", key="b")
    sender = RecordingSender()

    drain(sender, share=1, shares=2)

    assert sender.payloads == ["1", "2"]
    connections["default"].close()
