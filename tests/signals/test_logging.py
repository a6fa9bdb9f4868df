"""Do log lines tell an operator what happened, in fields that tools can read, without payloads?"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.dispatch import Signal

from django_eventbus import signals
from django_eventbus.events.envelope import Envelope
from django_eventbus.signals import RelayState, connect_logging, emit

ENVELOPE = Envelope(
    message_id="0198",
    event_name="shop.orders.order-placed",
    source="/shop/orders",
    topic="dev.shop.public.orders.v1",
    key=b"42",
    data=b'{"card": "4111"}',
    correlation_id="c-1",
    tenant_id="t-1",
    partition=3,
    offset=17,
)
HANDLED: dict[str, Any] = {
    "envelopes": [ENVELOPE],
    "handler": "billing.issue_invoice",
    "group": "billing",
    "attempt": 1,
    "outcome": "handled",
    "duration": timedelta(milliseconds=5),
}
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _connected(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Connect as in production, where DEBUG is off, and leave it so."""
    caplog.set_level(logging.INFO, logger="django_eventbus")
    connect_logging()
    yield
    caplog.set_level(logging.INFO, logger="django_eventbus")
    connect_logging()


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    records = (record for record in caplog.records if record.name.startswith("django_eventbus"))
    return [(record.levelname, record.getMessage()) for record in records]


def test_a_failed_attempt_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("no such customer")

    emit(
        signals.message_retried,
        envelope=ENVELOPE,
        handler="billing.issue_invoice",
        group="billing",
        attempt=2,
        error=error,
        retry_at=NOON,
    )

    expected = (
        "attempt failed event=shop.orders.order-placed id=0198 handler=billing.issue_invoice attempt=2 "
        "retry_at=2026-11-21T12:00:00+00:00 error=ValueError: no such customer"
    )
    assert lines(caplog) == [("WARNING", expected)]


def test_a_dead_letter_is_an_error_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("no such customer")
    except ValueError as raised:
        error = raised

    emit(
        signals.message_dead_lettered,
        envelope=ENVELOPE,
        handler="billing.issue_invoice",
        group="billing",
        attempt=5,
        error=error,
        dead_letter_id=9,
    )

    level, line = lines(caplog)[0]
    assert level == "ERROR"
    assert line.startswith("dead letter event=shop.orders.order-placed id=0198 handler=billing.issue_invoice attempt=5")
    assert "dead_letter=9" in line
    assert "Traceback" in caplog.text


def test_a_dead_letter_without_an_event_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    emit(
        signals.message_dead_lettered,
        envelope=None,
        handler="",
        group="billing",
        attempt=0,
        error="invalid_json: line 1",
        dead_letter_id=9,
    )

    assert lines(caplog) == [
        ("ERROR", "dead letter event=- id=- handler=- attempt=0 dead_letter=9 error=invalid_json: line 1")
    ]


def test_lines_carry_the_fields_that_tools_read(caplog: pytest.LogCaptureFixture) -> None:
    emit(
        signals.message_retried,
        envelope=ENVELOPE,
        handler="billing.issue_invoice",
        group="billing",
        attempt=2,
        error=ValueError(),
        retry_at=NOON,
    )

    record: Any = caplog.records[-1]
    assert (record.event_name, record.event_id, record.event_attempt) == ("shop.orders.order-placed", "0198", 2)
    assert record.handler == "billing.issue_invoice"
    assert (record.correlation_id, record.tenant_id) == ("c-1", "t-1")
    assert (record.topic, record.partition, record.offset) == ("dev.shop.public.orders.v1", 3, 17)


def test_no_line_carries_the_payload(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="django_eventbus")
    connect_logging()

    emit(signals.event_published, event=object(), envelope=ENVELOPE, bus="default", using="default")
    emit(signals.message_handled, **HANDLED)

    assert [level for level, _ in lines(caplog)] == ["DEBUG", "DEBUG"]
    assert "4111" not in caplog.text
    assert not any("4111" in repr(vars(record)) for record in caplog.records)


def test_a_foreign_name_cannot_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    emit(
        signals.message_dead_lettered,
        envelope=Envelope(
            message_id="1\nERROR forged", event_name="a\r\nb", source="s", topic="t", key=None, data=None
        ),
        handler="x.y",
        group="g",
        attempt=1,
        error=ValueError("first\nsecond"),
        dead_letter_id=1,
    )

    assert "\n" not in lines(caplog)[0][1]
    assert "\r" not in lines(caplog)[0][1]


@pytest.mark.parametrize("signal", [signals.event_published, signals.message_handled])
def test_what_comes_with_every_event_costs_nothing_until_debug_is_wanted(
    signal: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    quiet = signal.has_listeners()
    caplog.set_level(logging.DEBUG, logger="django_eventbus")
    connect_logging()

    assert not quiet
    assert signal.has_listeners()


def test_connecting_twice_logs_once(caplog: pytest.LogCaptureFixture) -> None:
    connect_logging()

    emit(signals.partitions_assigned, group="billing", partitions=[("orders", 1), ("orders", 0)])

    assert lines(caplog) == [("INFO", "partitions assigned group=billing partitions=orders/0,orders/1")]


@pytest.mark.parametrize(
    ("signal", "details", "expected"),
    [
        (
            signals.partitions_revoked,
            {"group": "billing", "partitions": [("orders", 0)], "lost": False},
            ("INFO", "partitions revoked group=billing partitions=orders/0"),
        ),
        (
            signals.partitions_revoked,
            {"group": "billing", "partitions": [("orders", 0)], "lost": True},
            ("WARNING", "partitions lost group=billing partitions=orders/0"),
        ),
        (
            signals.relay_state_changed,
            {"bus": "default", "using": "default", "state": RelayState.ACTIVE, "shards": range(64), "reason": ""},
            ("INFO", "relay bus=default using=default state=active reason=-"),
        ),
        (
            signals.relay_state_changed,
            {"bus": "default", "using": "default", "state": RelayState.BACKING_OFF, "reason": "broker unreachable"},
            ("WARNING", "relay bus=default using=default state=backing_off reason=broker unreachable"),
        ),
        (
            signals.dead_letter_replayed,
            {"envelope": ENVELOPE, "handler": "a.b", "dead_letter_id": 9, "operator": "ada", "reason": "fixed"},
            ("INFO", "replayed dead_letter=9 handler=a.b operator=ada"),
        ),
    ],
)
def test_changes_of_state_are_logged(
    signal: Signal, details: dict[str, Any], expected: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    emit(signal, **details)

    assert lines(caplog) == [expected]


def test_a_sent_batch_is_a_debug_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="django_eventbus")

    emit(signals.message_sent, bus="default", using="default", count=1000, duration=timedelta(milliseconds=8))

    assert lines(caplog) == [("DEBUG", "sent bus=default using=default count=1000 seconds=0.0080")]
