from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections

from django_eventbus import checks, event, handler
from django_eventbus.bus import buses
from django_eventbus.delivery.registry import handlers
from django_eventbus.events.registry import events

KAFKA = {"TRANSPORT": "kafka", "SERVICE": "s", "ENVIRONMENT": "e", "OPTIONS": {"bootstrap.servers": "127.0.0.1:1"}}


def ids(check: Callable[..., Any], **options: Any) -> list[str]:
    return [message.id.removeprefix("eventbus.") for message in check(**options)]


def all_ids() -> list[str]:
    return [found for check in (*checks.CHECKS, *checks.DEPLOYMENT_CHECKS) for found in ids(check)]


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Change the settings of the default database for one test."""

    def change(**fields: Any) -> None:
        for name, value in fields.items():
            monkeypatch.setitem(connections["default"].settings_dict, name, value)

    return change


def test_project_without_settings_has_no_errors() -> None:
    assert [found for found in all_ids() if found.startswith("E")] == []


def test_kafka_in_full_has_no_errors(settings: Any) -> None:
    settings.EVENTBUS = {"default": KAFKA}

    assert [found for found in all_ids() if found.startswith("E")] == []


def test_wrong_setting_is_named_and_silences_what_depends_on_it(settings: Any) -> None:
    settings.EVENTBUS = {"default": {"OUTBOX": {"BATCHSIZE": 1}}}

    messages = checks.check_settings()

    assert [message.id for message in messages] == ["eventbus.E020"]
    assert "EVENTBUS['default']['OUTBOX']['BATCHSIZE']" in messages[0].msg
    assert messages[0].hint == "Did you mean 'BATCH_SIZE'?"
    assert ids(checks.check_transports) == ids(checks.check_databases) == []


@pytest.mark.parametrize(
    ("bus", "check", "expected"),
    [
        ({"TRANSPORT": "no.such.Transport"}, checks.check_transports, "E050"),
        (KAFKA | {"OPTIONS": {}}, checks.check_settings, "E020"),
        (KAFKA | {"PRODUCER_OPTIONS": {"message.timeout.ms": 60_000}}, checks.check_transports, "E051"),
        (KAFKA | {"PRODUCER_OPTIONS": {"acks": "1"}}, checks.check_transports, "E051"),
        ({"TRANSPORT": "local"}, checks.check_deployment, "W050"),
        ({"TRANSPORT": "memory"}, checks.check_deployment, "E054"),
        ({"TRANSPORT": "kafka", "OPTIONS": KAFKA["OPTIONS"]}, checks.check_deployment, "E021"),
    ],
)
def test_bus_is_complained_about(settings: Any, bus: dict[str, Any], check: Callable[..., Any], expected: str) -> None:
    settings.DEBUG = False
    settings.EVENTBUS = {"default": bus}

    assert expected in ids(check)


@pytest.mark.sqlite_only
def test_notify_on_sqlite_is_an_error(settings: Any) -> None:
    settings.EVENTBUS = {"default": {"OUTBOX": {"WAKE_WITH": "notify"}}}

    assert "E053" in ids(checks.check_transports)


def test_celery_that_is_not_installed_is_an_error(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.EVENTBUS = {"default": {"OUTBOX": {"WAKE_WITH": "celery"}}}
    assert "E052" not in ids(checks.check_transports)

    monkeypatch.setitem(sys.modules, "celery", None)
    monkeypatch.setattr(checks, "find_spec", lambda name: None)

    assert "E052" in ids(checks.check_transports)


def test_unsupported_database_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(connections["default"]), "vendor", "mysql")

    assert ids(checks.check_databases) == ["E040"]


@pytest.mark.postgres_only
def test_stricter_isolation_is_an_error(entry: Callable[..., None]) -> None:
    from psycopg import IsolationLevel

    entry(OPTIONS={"isolation_level": IsolationLevel.READ_COMMITTED})
    assert ids(checks.check_databases) == []

    entry(OPTIONS={"isolation_level": IsolationLevel.SERIALIZABLE})

    assert ids(checks.check_databases) == ["E042"]


@pytest.mark.postgres_only
@pytest.mark.django_db(transaction=True)
def test_stricter_isolation_of_the_server_is_an_error() -> None:
    assert ids(checks.check_connected_databases, databases=["default"]) == []

    with connections["default"].cursor() as cursor:
        cursor.execute("SET default_transaction_isolation = 'repeatable read'")
    try:
        assert ids(checks.check_connected_databases, databases=["default"]) == ["E042"]
    finally:
        connections["default"].close()


@pytest.mark.postgres_only
@pytest.mark.django_db
def test_old_server_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "OLDEST_POSTGRESQL", 10_000_000)

    assert ids(checks.check_connected_databases, databases=["default"]) == ["E043"]


def test_server_is_not_asked_without_being_named() -> None:
    assert ids(checks.check_connected_databases, databases=None) == []


@pytest.mark.sqlite_only
def test_sqlite_without_immediate_or_wal_is_a_warning(entry: Callable[..., None]) -> None:
    assert ids(checks.check_databases) == []

    entry(OPTIONS={})

    assert ids(checks.check_databases) == ["W040", "W041"]


class NoEventBusTables:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "eventbus" else None


def test_router_that_keeps_the_tables_away_is_an_error(settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["tests.checks.test_checks.NoEventBusTables"]

    assert ids(checks.check_databases) == ["E044"]


@pytest.mark.sqlite_only
def test_a_library_that_is_too_old_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "OLDEST_SQLITE", (99, 0, 0))

    assert ids(checks.check_databases) == ["E045"]


def test_declarations_are_looked_at() -> None:
    with events.isolated(), handlers.isolated():

        @event("tests.checks.twice", topic="checks", domain="tests")
        class First:
            number: int

        @event("tests.checks.twice", topic="checks", domain="tests")
        class Second:
            number: int

        @handler(First, name="tests.checks", using="nowhere")
        def handle(event: First) -> None: ...

        assert any("declared by several classes" in message.msg for message in checks.check_events())
        assert "E060" in ids(checks.check_handlers)


def test_databases_of_handlers_are_looked_at_too_and_unknown_ones_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    with handlers.isolated(), events.isolated():

        @event("tests.checks.looked-at", topic="checks", domain="tests")
        class Looked:
            number: int

        def look(event: Looked) -> None: ...

        for alias in ("other", "nowhere"):
            handler(Looked, name=f"tests.{alias}", using=alias)(look)
        monkeypatch.setattr(type(connections["other"]), "vendor", "oracle")

        messages = checks.check_databases()

    assert [message.msg.split()[1] for message in messages if message.id == "eventbus.E040"] == ["'default'", "'other'"]


def test_command_fails_on_what_the_checks_find(settings: Any) -> None:
    settings.EVENTBUS = {"default": {"TRANSPRT": "kafka"}}

    with pytest.raises(SystemCheckError, match=r"eventbus\.E020.*[\s\S]*Did you mean 'TRANSPORT'"):
        call_command("check", "--tag", "eventbus")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("command", [["check"], ["migrate", "--verbosity", "0"], ["shell", "-c", "import tests.shop"]])
def test_broker_is_contacted_neither_by_check_nor_by_migrate(
    child_environment: Callable[..., dict[str, str]], command: list[str]
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as broker:
        address = f"127.0.0.1:{broker.getsockname()[1]}"
        environment = child_environment({"default": KAFKA | {"OPTIONS": {"bootstrap.servers": address}}})
        subprocess.run(
            [sys.executable, "-m", "django", *command], env=environment, check=True, capture_output=True, timeout=60
        )
        broker.setblocking(False)

        with pytest.raises(BlockingIOError):
            broker.accept()


def test_every_bus_is_checked(settings: Any) -> None:
    settings.EVENTBUS = {"default": {}, "second": {"TRANSPORT": "no.such.Transport"}}

    assert list(buses) == ["default", "second"]
    assert ids(checks.check_transports) == ["E050"]
