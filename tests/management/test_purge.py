"""What a purge deletes, and what it never does."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command

from django_eventbus.delivery.registry import handlers
from django_eventbus.events.registry import events
from django_eventbus.models import (
    ControlFlag,
    DeadLetter,
    InboxMessage,
    OperatorAction,
    OutboxMessage,
    SagaHistory,
    SagaState,
    SentMessage,
)
from django_eventbus.models.dead_letter import DeadLetterStatus
from django_eventbus.models.inbox import inbox_key
from django_eventbus.models.purging import purge_inbox
from django_eventbus.models.retry import RetryMessage
from django_eventbus.sagas.declaration import sagas

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def uuid7_of(moment: datetime) -> UUID:
    stamp = int(moment.timestamp() * 1000)
    return UUID(int=stamp << 80 | 0x7 << 76 | 0x2 << 62 | uuid4().int & ((1 << 62) - 1))


def taken(*, received: float, event: float | None = None, message_id: str | None = None) -> UUID:
    """Put a message into the inbox, received some days ago; its event may be older."""
    given = message_id or str(uuid7_of(days_ago(received if event is None else event)))
    key = inbox_key("billing.issue_invoice", "/shop", given)
    InboxMessage.objects.create(
        key=key, handler="billing.issue_invoice", partition_id=1, position=1, received_at=days_ago(received)
    )
    return key


def sent(days: float, *, bus: str = "default") -> int:
    row = SentMessage.objects.create(
        id=SentMessage.objects.count() + 1,
        event_id=uuid4(),
        event_name="e",
        bus=ControlFlag.objects.bus_number(bus),
        shard=0,
        topic="t",
        headers="",
        payload=b"",
        sent_at=days_ago(days),
    )
    return row.pk


def letter(status: str, *, failed: float, decided: float | None = None) -> int:
    dead = DeadLetter.objects.create(
        direction="in",
        status=status,
        reason="attempts_exhausted",
        bus="default",
        topic="t",
        headers=b"",
        failed_at=days_ago(failed),
    )
    if decided is not None:
        OperatorAction.objects.create(kind="discard", dead_letter_id=dead.pk, actor="ada", acted_at=days_ago(decided))
    return dead.pk


def purge(*arguments: str) -> str:
    out = StringIO()
    call_command("eventbus_purge", *arguments, stdout=out)
    return out.getvalue()


def inbox() -> set[UUID]:
    return set(InboxMessage.objects.values_list("key", flat=True))


class TestInbox:
    def test_forgets_what_is_older_than_its_retention(self) -> None:
        taken(received=31)
        taken(received=31, message_id="an id of others")
        kept = {taken(received=29), taken(received=29, message_id="another id of others")}

        purge()

        assert inbox() == kept

    def test_keeps_an_old_event_that_arrived_late(self) -> None:
        kept = taken(received=1, event=90)

        purge()

        assert inbox() == {kept}

    def test_keeps_an_event_whose_id_comes_from_the_future(self) -> None:
        kept = taken(received=31, event=-400)

        purge()

        assert inbox() == {kept}

    def test_keeps_what_another_bus_must_still_know(self, settings: Any) -> None:
        settings.EVENTBUS = {"default": {}, "long": {"INBOX": {"RETENTION": timedelta(days=60)}}}
        kept = taken(received=50)
        taken(received=61)

        purge("--bus", "default")

        assert inbox() == {kept}

    def test_goes_in_chunks_that_each_look_at_so_many_rows(self, django_assert_max_num_queries: Any) -> None:
        for _ in range(25):
            taken(received=40)
        kept = {taken(received=1, event=90) for _ in range(3)}

        with django_assert_max_num_queries(10):
            counts = list(purge_inbox("default", before=days_ago(30), chunk=10))

        assert sum(counts) == 25
        assert len(counts) == 4  # 10, 10 and what is left; and the ids of others
        assert inbox() == kept


class TestArchive:
    def test_is_kept_where_no_retention_is_set(self) -> None:
        sent(1000)

        purge()

        assert SentMessage.objects.count() == 1

    def test_is_cut_per_bus(self, settings: Any) -> None:
        settings.EVENTBUS = {
            "default": {"OUTBOX": {"RETENTION": timedelta(days=7)}},
            "long": {"OUTBOX": {"RETENTION": timedelta(days=70)}},
        }
        sent(8)
        kept = {sent(6), sent(8, bus="long")}

        purge()

        assert set(SentMessage.objects.values_list("id", flat=True)) == kept

    def test_of_a_local_queue_is_cut_with_its_bus(self, settings: Any) -> None:
        broker = {"TRANSPORT": "kafka", "OPTIONS": {"bootstrap.servers": "localhost:9"}}
        settings.EVENTBUS = {"default": {**broker, "OUTBOX": {"RETENTION": timedelta(days=7)}}}
        sent(8, bus="default:local")
        kept = sent(6, bus="default:local")

        purge()

        assert SentMessage.objects.get().pk == kept


class TestDeadLetters:
    def test_that_are_open_stay_for_ever(self) -> None:
        kept = {letter(DeadLetterStatus.DEAD, failed=9000), letter(DeadLetterStatus.REPLAYING, failed=9000)}

        purge()

        assert set(DeadLetter.objects.values_list("id", flat=True)) == kept

    def test_that_are_closed_go_some_time_after_the_verdict(self) -> None:
        letter(DeadLetterStatus.REPLAYED, failed=200, decided=91)
        letter(DeadLetterStatus.DISCARDED, failed=200, decided=91)
        kept = {
            letter(DeadLetterStatus.REPLAYED, failed=200, decided=89),
            letter(DeadLetterStatus.DISCARDED, failed=80, decided=70),
        }

        purge()

        assert set(DeadLetter.objects.values_list("id", flat=True)) == kept
        assert OperatorAction.objects.count() == 4

    def test_are_kept_where_the_retention_is_none(self, settings: Any) -> None:
        settings.EVENTBUS = {"default": {"DEAD_LETTER": {"RETENTION": None}}}
        letter(DeadLetterStatus.REPLAYED, failed=9000)

        purge()

        assert DeadLetter.objects.count() == 1


def test_what_is_unsent_or_waits_is_never_touched() -> None:
    ancient = days_ago(9000)
    OutboxMessage.objects.create(
        event_id=uuid4(), event_name="e", bus=1, shard=0, topic="t", headers="", payload=b"", created_at=ancient
    )
    RetryMessage.objects.create(
        key=uuid4(), partition_id=1, lane=uuid4(), position=1, handler="h", topic="t", headers=b"", received_at=ancient
    )

    purge()

    assert OutboxMessage.objects.count() == RetryMessage.objects.count() == 1


def test_dry_run_counts_the_same_and_deletes_nothing() -> None:
    for _ in range(3):
        taken(received=31)
    taken(received=29)
    letter(DeadLetterStatus.DISCARDED, failed=200)

    told = json.loads(purge("--dry-run", "--json"))

    assert told["dry_run"] is True
    assert {(each["table"], each["rows"]) for each in told["purged"]} == {
        ("eventbus_inbox", 3),
        ("eventbus_dead_letter", 1),
        ("eventbus_saga_state", 0),
    }
    assert (len(inbox()), DeadLetter.objects.count()) == (4, 1)


def test_text_names_table_database_and_age() -> None:
    taken(received=31)

    assert "1 deleted from eventbus_inbox on default, older than " in purge()


def test_unknown_bus_is_wrong_usage() -> None:
    with pytest.raises(CommandError, match="'nope'") as error:
        purge("--bus", "nope")

    assert error.value.returncode == 2


class TestSagas:
    def test_those_that_ended_go_with_their_history_and_what_runs_stays(self) -> None:
        saga(1, ended=91)
        kept = {saga(2, ended=89), saga(3, ended=None)}

        purge()

        assert set(SagaState.objects.values_list("id", flat=True)) == kept
        assert set(SagaHistory.objects.values_list("instance_id", flat=True)) == kept

    def test_a_saga_may_be_kept_shorter_or_longer_than_others(self) -> None:
        from tests.sagas.fulfilment import declare

        with handlers.isolated(), sagas.isolated(), events.isolated():
            declare(retention=timedelta(days=10))
            saga(1, ended=11, name="shop.OrderSaga")
            kept = {saga(2, ended=9, name="shop.OrderSaga"), saga(3, ended=89)}

            purge()

        assert set(SagaState.objects.values_list("id", flat=True)) == kept

    def test_without_a_retention_none_goes(self, settings: Any) -> None:
        settings.EVENTBUS = {"default": {"SAGA": {"RETENTION": None}}}
        kept = saga(1, ended=10_000)

        purge()

        assert SagaState.objects.get().pk == kept

    def test_a_dry_run_counts(self) -> None:
        saga(1, ended=91)

        told = json.loads(purge("--dry-run", "--json"))["purged"]

        assert [each["rows"] for each in told if each["table"] == "eventbus_saga_state"] == [1]
        assert SagaState.objects.exists()


def saga(number: int, *, ended: float | None, name: str = "shop.Other") -> int:
    """Put an instance with one step of history into the tables, ended some days ago or still running."""
    instance = SagaState.objects.create(
        saga=name,
        key=str(number),
        bus="default",
        version=1,
        status="running" if ended is None else "completed",
        state_version="1",
        ended_at=None if ended is None else days_ago(ended),
    )
    SagaHistory.objects.create(
        instance_id=instance.pk, version=1, message="placed", outcome="started", status=instance.status
    )
    return instance.pk
