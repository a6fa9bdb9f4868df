"""A message that the broker refuses for ever is one line, and an operator's verdict on it frees its key."""

from __future__ import annotations

from typing import Any

import pytest

from django_eventbus.delivery.replay import discard, replay
from django_eventbus.models import DeadLetter, OutboxLane, OutboxMessage
from django_eventbus.outbox import settling
from django_eventbus.transports.base import FailureKind
from tests.outbox.relaying import RecordingSender, append, bus_config, drain, failing, new_message

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def prompt_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "TOPIC_PROBE", 0.05)


@pytest.fixture
def sender() -> RecordingSender:
    sender = RecordingSender()
    sender.rule = failing(FailureKind.PERMANENT, code="MSG_SIZE_TOO_LARGE", payload="bad")
    return sender


def lines() -> list[tuple[Any, ...]]:
    return list(DeadLetter.objects.order_by("id").values_list("status", "times_dead", "exception_type"))


def replay_all() -> None:
    assert not replay(DeadLetter.objects.values_list("pk", flat=True), actor="ops", using="default").refused


def test_a_replayed_message_that_is_refused_again_updates_its_line(sender: RecordingSender) -> None:
    append("bad")
    drain(sender)
    replay_all()
    sender.rule = failing(FailureKind.PERMANENT, code="INVALID_RECORD", payload="bad")

    drain(sender)

    assert lines() == [("dead", 2, "INVALID_RECORD")]


def test_a_message_that_is_refused_again_in_the_lane_of_its_topic_updates_its_line(sender: RecordingSender) -> None:
    append("bad")
    drain(sender)
    replay_all()
    sender.rule = failing(FailureKind.TOPIC, topic="orders")
    drain(sender, timeout=0.5)
    sender.rule = failing(FailureKind.PERMANENT, code="INVALID_RECORD", payload="bad")

    drain(sender)

    assert lines() == [("dead", 2, "INVALID_RECORD")]


def test_two_messages_under_one_id_that_are_refused_together_are_two_lines(sender: RecordingSender) -> None:
    message = new_message("bad")
    OutboxMessage.objects.append([message, message])

    report = drain(sender)

    assert report.dead_lettered == 2
    assert lines() == [("dead", 1, "MSG_SIZE_TOO_LARGE")] * 2


def test_a_replayed_message_lets_go_of_its_key(sender: RecordingSender) -> None:
    config = bus_config(on_dead_letter="hold_key")
    append("bad", "2")
    drain(sender, config)
    sender.rule = lambda row: None

    replay_all()
    drain(sender, config)

    assert sender.payloads == ["2", "bad"]
    assert not OutboxLane.objects.exists()


def test_a_refused_message_without_a_key_holds_nothing_back_in_the_lane_of_its_topic(sender: RecordingSender) -> None:
    config = bus_config(on_dead_letter="hold_key")
    refusing, sender.rule = sender.rule, failing(FailureKind.TOPIC, topic="orders")
    append("bad", "2", key="")
    drain(sender, config, timeout=0.5)
    sender.rule = refusing

    drain(sender, config)

    assert sender.payloads == ["2"]
    assert not OutboxLane.objects.exists()


def test_a_discarded_message_lets_go_of_its_key_and_of_no_other(sender: RecordingSender) -> None:
    config = bus_config(on_dead_letter="hold_key")
    append("bad", "2")
    append("bad", "other", key="held")
    drain(sender, config)

    discard([DeadLetter.objects.get(key=b"k").pk], actor="ops", using="default")
    drain(sender, config)

    assert sender.payloads == ["2"]
    assert bytes(OutboxLane.objects.get().key) == b"held"
