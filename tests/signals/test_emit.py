"""Do receivers hear what happens, without ever changing a message's fate?"""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.dispatch import Signal

from django_eventbus import signals
from django_eventbus.signals import emit

SIGNALS = [
    "event_published",
    "message_sent",
    "message_handled",
    "message_retried",
    "message_dead_lettered",
    "dead_letter_replayed",
    "relay_state_changed",
    "partitions_assigned",
    "partitions_revoked",
]


class OrderPlaced:
    pass


@pytest.fixture
def signal() -> Signal:
    return Signal()


@pytest.mark.parametrize("name", SIGNALS)
def test_every_public_signal_is_there(name: str) -> None:
    assert isinstance(getattr(signals, name), Signal)


def test_a_receiver_hears_the_details(signal: Signal) -> None:
    heard: list[dict[str, Any]] = []

    def receiver(**details: Any) -> None:
        heard.append(details)

    signal.connect(receiver)
    emit(signal, OrderPlaced, handler="billing.issue_invoice", attempt=2)

    assert heard == [{"signal": signal, "sender": OrderPlaced, "handler": "billing.issue_invoice", "attempt": 2}]


def test_a_receiver_of_one_event_hears_no_other(signal: Signal) -> None:
    heard: list[Any] = []

    def receiver(sender: Any, **details: Any) -> None:
        heard.append(sender)

    signal.connect(receiver, sender=OrderPlaced)
    emit(signal, OrderPlaced)
    emit(signal, int)
    emit(signal)

    assert heard == [OrderPlaced]


def test_a_receiver_that_raises_stops_nobody_and_is_logged(signal: Signal, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []

    def bad(**details: Any) -> None:
        raise ValueError("receiver is broken")

    def good(**details: Any) -> None:
        heard.append("good")

    signal.connect(bad)
    signal.connect(good)
    with caplog.at_level(logging.ERROR):
        emit(signal, OrderPlaced)

    assert heard == ["good"]
    assert "receiver is broken" in caplog.text
