"""An operator replays or discards dead letters: once, with a record of who did it, at the old place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, connection

from django_eventbus.conf import load
from django_eventbus.delivery.dead_letters import Burial, bury
from django_eventbus.delivery.replay import discard, get, replay
from django_eventbus.events.envelope import Envelope, join_headers
from django_eventbus.models import DeadLetter, OperatorAction, OutboxMessage, RetryMessage
from django_eventbus.models.dead_letter import DeadLetterReason, unpack_headers
from django_eventbus.models.inbox import inbox_key
from django_eventbus.models.operator_action import VerdictReport
from django_eventbus.models.outbox import HELD_UNTIL, NewMessage
from django_eventbus.models.relay_plain import PlainSession
from django_eventbus.models.retry import Verdict
from django_eventbus.outbox.dead_letters import describe
from django_eventbus.signals import dead_letter_replayed, message_dead_lettered
from django_eventbus.transports.base import Record

pytestmark = pytest.mark.django_db

CONFIG = load({"default": {}})["default"]
HEADERS = [("ce_id", b"m-1"), ("ce_type", b"shop.orders.order-placed"), ("x-odd", b"\xff"), ("x-null", None)]


def died(message_id: str = "m-1", *, handler: str = "shop.bill", offset: int = 7, **changes: Any) -> Burial:
    record = Record("dev.shop.public.orders.v1", 2, offset, b"k\xff", b'{"n":1}\x00', HEADERS, None)
    envelope = Envelope(
        message_id=message_id,
        event_name="shop.orders.order-placed",
        event_version="1",
        source="/shop",
        topic=record.topic,
        key=record.key,
        data=record.value,
        partition=2,
        offset=offset,
        tenant_id="t1",
    )
    values: dict[str, Any] = {
        "record": record,
        "envelope": envelope,
        "group": "shop-dev",
        "handler": handler,
        "partition_id": 11,
        "inbox_key": inbox_key(handler, "/shop", message_id),
        "lane": UUID(int=5),
        "reason": DeadLetterReason.ATTEMPTS_EXHAUSTED,
        "error": ValueError("no such order"),
        "attempts": 5,
    }
    return Burial(**{**values, **changes})


def dead(*burials: Burial) -> list[int]:
    return list(bury(burials or [died()], config=CONFIG, using="default").values())


def act(ids: list[int], *, verb: Any = replay, command_id: UUID | None = None) -> Any:
    return verb(ids, actor="ann", reason="fixed", using="default", command_id=command_id)


@pytest.fixture
def heard() -> Iterator[list[dict[str, Any]]]:
    calls: list[dict[str, Any]] = []

    def receive(**details: Any) -> None:
        calls.append(details)

    for signal in (dead_letter_replayed, message_dead_lettered):
        signal.connect(receive)
    yield calls
    for signal in (dead_letter_replayed, message_dead_lettered):
        signal.disconnect(receive)


def test_a_dead_letter_keeps_the_exact_record_and_says_why() -> None:
    (number,) = dead()

    letter = get(number, using="default")
    assert bytes(letter.payload or b"") == b'{"n":1}\x00'
    assert bytes(letter.key or b"") == b"k\xff"
    assert unpack_headers(bytes(letter.headers)) == HEADERS
    assert (letter.topic, letter.partition_number, letter.position) == ("dev.shop.public.orders.v1", 2, 7)
    assert (letter.exception_type, letter.exception_message) == ("ValueError", "no such order")
    assert "ValueError: no such order" in letter.traceback
    assert (letter.attempts, letter.times_dead, letter.tenant_id) == (5, 1, "t1")


def test_text_that_no_database_takes_is_made_storable() -> None:
    record = died().record
    hostile = Envelope(
        message_id="m\x00",
        event_name="e" * 100_000,
        source="\ud800",
        topic=record.topic,
        key=None,
        data=None,
    )

    (number,) = dead(died(envelope=hostile, error=ValueError("nul \x00 and \ud800" + "x" * 100_000)))

    letter = get(number, using="default")
    assert letter.message_id == "m\\x00"
    assert len(letter.event_name) == 500
    assert letter.exception_message.startswith("nul \\x00 and \\ud800")


def test_receivers_hear_of_a_dead_letter_after_the_commit(
    heard: list[dict[str, Any]], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        (number,) = dead()
        assert heard == []

    (call,) = heard
    assert (call["dead_letter_id"], call["handler"], call["attempt"]) == (number, "shop.bill", 5)


def test_a_replay_puts_the_message_back_at_its_old_place_for_its_handler_alone() -> None:
    mine, sibling = dead(died(), died(handler="shop.ship"))

    report = act([mine])

    assert report.done == (mine,)
    row = RetryMessage.objects.get()
    assert (row.handler, row.message_id, row.attempts, row.dead_letter_id) == ("shop.bill", "m-1", 0, mine)
    assert (row.lane, row.position, row.partition_id) == (UUID(int=5), 7, 11)
    assert row.key == inbox_key("shop.bill", "/shop", "m-1")
    assert bytes(row.payload or b"") == b'{"n":1}\x00'
    assert bytes(row.record_key or b"") == b"k\xff"
    assert unpack_headers(bytes(row.headers)) == HEADERS
    assert list(RetryMessage.objects.due([11], limit=10)), "it is available now, by the database's clock"
    assert DeadLetter.objects.get(pk=mine).status == "replaying"
    assert DeadLetter.objects.get(pk=sibling).status == "dead"


def test_every_act_is_recorded_with_who_and_why() -> None:
    ids = dead(died("m-1"), died("m-2"))
    command = uuid4()

    act(ids, command_id=command)

    actions = OperatorAction.objects.order_by("dead_letter_id")
    assert [(a.dead_letter_id, a.kind, a.actor, a.reason, a.command_id) for a in actions] == [
        (number, "replay", "ann", "fixed", command) for number in sorted(ids)
    ]


def test_what_is_not_dead_is_refused_and_nothing_is_recorded_twice() -> None:
    (number,) = dead()
    act([number])

    report = act([number, 999_999])

    assert report.done == ()
    assert report.refused == {number: "replaying", 999_999: "not found"}
    assert (RetryMessage.objects.count(), OperatorAction.objects.count()) == (1, 1)


def test_the_same_request_acts_once_even_when_the_message_died_again_meanwhile() -> None:
    command = uuid4()
    (number,) = dead()
    act([number], command_id=command)
    RetryMessage.objects.all().delete()
    dead()

    report = act([number], command_id=command)

    assert list(report.refused) == [number]
    assert not RetryMessage.objects.exists()


def test_a_replay_that_succeeds_ends_as_replayed() -> None:
    replayed, untouched = dead(died("m-1"), died("m-2"))
    act([replayed])

    DeadLetter.objects.mark_replayed([replayed, untouched])

    assert DeadLetter.objects.get(pk=replayed).status == "replayed"
    assert DeadLetter.objects.get(pk=untouched).status == "dead"


def test_a_replay_that_fails_brings_its_line_back_with_one_more_death() -> None:
    (number,) = dead()
    act([number])

    again = dead(died(error=KeyError("still"), attempts=3))

    letter = DeadLetter.objects.get()
    assert again == [number] == [letter.pk]
    assert (letter.status, letter.times_dead, letter.exception_type, letter.attempts) == ("dead", 2, "KeyError", 3)


def held_head(number: int) -> RetryMessage:
    letter = get(number, using="default")
    assert letter.inbox_key is not None
    return RetryMessage.objects.create(
        key=letter.inbox_key,
        partition_id=11,
        lane=UUID(int=5),
        position=7,
        handler="shop.bill",
        topic=letter.topic,
        headers=letter.headers,
        attempts=5,
        available_at=HELD_UNTIL,
        dead_letter_id=number,
    )


def test_replaying_a_held_head_is_a_verdict_on_the_row_that_waits() -> None:
    (number,) = dead()
    head = held_head(number)

    act([number])

    head.refresh_from_db()
    assert (head.verdict, head.attempts) == (Verdict.REPLAY, 0)
    assert list(RetryMessage.objects.due([11], limit=10))


def test_discarding_a_held_head_lets_its_key_go() -> None:
    (number,) = dead()
    head = held_head(number)

    act([number], verb=discard)

    head.refresh_from_db()
    assert head.verdict == Verdict.DISCARD
    assert list(RetryMessage.objects.due([11], limit=10))
    assert DeadLetter.objects.get().status == "discarded"


def test_an_undecodable_record_is_replayed_without_a_handler() -> None:
    (number,) = dead(died(handler="", envelope=None, reason=DeadLetterReason.UNDECODABLE))

    act([number])

    assert RetryMessage.objects.get().handler == ""


def refused(event_id: UUID) -> tuple[int, int]:
    """Put a message into the outbox and bury it there; return its id and that of its dead letter."""
    message = NewMessage(
        event_id=event_id,
        bus=1,
        shard=3,
        topic="dev.shop.public.orders.v1",
        key=b"42",
        headers=join_headers([("ce_id", str(event_id)), ("x-user", "grüße")]),
        payload=b"\x00\xff",
        event_name="shop.orders.order-placed",
    )
    OutboxMessage.objects.append([message])
    session = PlainSession(CONFIG)
    session.bus = 1
    (row,) = session.read()
    buried = session.lanes.bury(None, [describe(row, envelope=None)], code="MSG_SIZE_TOO_LARGE")
    return row[0], buried[row[0]]


def test_a_replayed_outbound_message_is_sent_again_under_its_own_id() -> None:
    event_id = uuid4()
    row, number = refused(event_id)

    act([number])

    message = OutboxMessage.objects.get()
    assert message.id > row
    assert (message.event_id, message.topic, bytes(message.key or b"")) == (
        event_id,
        "dev.shop.public.orders.v1",
        b"42",
    )
    assert bytes(message.payload) == b"\x00\xff"
    assert message.headers.endswith("x-user\x1fgrüße")
    assert DeadLetter.objects.get().status == "replayed"


def test_an_outbound_message_of_a_bus_that_is_gone_is_refused() -> None:
    _, number = refused(uuid4())
    DeadLetter.objects.update(bus="gone")

    report = act([number])

    assert "no longer in EVENTBUS" in report.refused[number]
    assert DeadLetter.objects.get().status == "dead"
    assert not OutboxMessage.objects.exists()


def test_receivers_hear_of_a_replay_after_the_commit(
    heard: list[dict[str, Any]], django_capture_on_commit_callbacks: Any
) -> None:
    (number,) = dead()

    with django_capture_on_commit_callbacks(execute=True):
        act([number])
        assert heard == []

    (call,) = heard
    assert (call["dead_letter_id"], call["operator"], call["reason"]) == (number, "ann", "fixed")
    assert call["envelope"].message_id == "m-1"


@pytest.mark.postgres_only
@pytest.mark.django_db(transaction=True)
def test_of_two_operators_at_the_same_moment_one_replays() -> None:
    (number,) = dead()
    together = threading.Barrier(2, timeout=10)
    reports: list[VerdictReport] = []

    def click() -> None:
        try:
            together.wait()
            reports.append(act([number]))
        finally:
            connection.close()

    threads = [threading.Thread(target=click) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert sorted(len(report.done) for report in reports) == [0, 1]
    assert (RetryMessage.objects.count(), OperatorAction.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_a_replay_that_cannot_be_recorded_does_not_happen() -> None:
    (number,) = dead()

    with pytest.raises(IntegrityError):
        replay([number], actor=None, using="default")  # type: ignore[arg-type]

    assert DeadLetter.objects.get().status == "dead"
    assert not RetryMessage.objects.exists()
