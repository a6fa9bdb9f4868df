"""What every test may ask for: databases, PostgreSQL, Kafka, topics, and the environment of a child process."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings
from django.db import connections

from tests.services import databases, run, stop

REQUIRED = frozenset(filter(None, os.environ.get("EVENTBUS_TEST_REQUIRE", "").replace(" ", "").split(",")))
SERVICE_FIXTURES = frozenset({"postgres", "own_postgres", "kafka", "own_kafka", "topic", "make_topic"})
ROOT = Path(__file__).resolve().parent.parent
run_is_ours = pytest.StashKey[bool]()

# The suite draws the same examples each time; `--hypothesis-profile long` draws many others.
BUSY: Any = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow], "print_blob": True}
hypothesis.settings.register_profile("suite", derandomize=True, max_examples=60, **BUSY)
hypothesis.settings.register_profile("long", max_examples=3000, **BUSY)
hypothesis.settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    unknown = REQUIRED - {"postgres", "kafka"}
    if unknown:
        raise pytest.UsageError(f"EVENTBUS_TEST_REQUIRE names {', '.join(sorted(unknown))}; known are postgres, kafka")
    for name in sorted(REQUIRED):
        if reason := missing(name):
            raise pytest.UsageError(f"EVENTBUS_TEST_REQUIRE names {name}, but {reason}")
    config.stash[run_is_ours] = run.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    if config.stash.get(run_is_ours, False):
        stop.stop_services()
        run.end()


def missing(name: str) -> str:
    """Say why a service can't be had here; empty when it can."""
    try:
        from tests.services import kafka, postgres
    except ImportError as exc:
        return f"{exc.name} is not installed"
    service = {"postgres": postgres, "kafka": kafka}[name]
    return "" if service.is_available() else service.missing()


def pytest_report_header() -> str:
    engine = settings.DATABASES["default"]["ENGINE"].rpartition(".")[2]
    return f"services: default database {engine}; required: {', '.join(sorted(REQUIRED)) or 'none'}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name in ("postgres", "kafka"):
        if service := run.started(name):
            terminalreporter.write_line(f"service {name}: from {service.get('source', 'nowhere')}")
        if reason := missing(name):
            terminalreporter.write_line(f"SKIPPED SERVICE {name}: {reason}", red=True, bold=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    vendor = connections["default"].vendor
    for item in items:
        if SERVICE_FIXTURES.intersection(getattr(item, "fixturenames", ())) or item.get_closest_marker("postgres_only"):
            item.add_marker(pytest.mark.services)
        for needed in ("postgresql", "sqlite"):
            if item.get_closest_marker(f"{needed.removesuffix('ql')}_only") and vendor != needed:
                item.add_marker(pytest.mark.skip(reason=f"needs {needed} as the default database"))


def registries() -> tuple[Any, ...]:
    """Return whatever knows declarations; imported late, since the models have to be ready."""
    from django_eventbus.delivery.registry import handlers
    from django_eventbus.delivery.translation import translators
    from django_eventbus.events.registry import events
    from django_eventbus.recurrence.registry import recurrings
    from django_eventbus.sagas.declaration import sagas

    return events, handlers, sagas, translators, recurrings


@pytest.fixture(autouse=True)
def _own_declarations(request: pytest.FixtureRequest) -> Iterator[None]:
    """Forget at the end of a test what it declared; blocks of one documentation page tell one story."""
    with ExitStack() as stack:
        if isinstance(request.node, pytest.Function):
            for registry in registries():
                stack.enter_context(registry.isolated())
        yield


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> None:
    """Start the default database's server and tell Django where it is, just before its test databases are made."""
    for alias, suffix in (("default", ""), ("other", "_other")):
        entry = connections[alias].settings_dict
        name = f"test_{run.folder().name.replace('-', '_')}{suffix}"
        if connections[alias].vendor == "postgresql":
            from tests.services import postgres

            entry.update(databases.on_postgres(postgres.url()))
            entry["TEST"]["NAME"] = name
        else:
            entry["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / f"{name}.sqlite3")
    request.getfixturevalue("django_db_modify_db_settings_parallel_suffix")


@pytest.fixture(scope="session")
def postgres() -> str:
    """The address of a PostgreSQL server, whatever the default database is."""
    need("postgres")
    from tests.services import postgres

    return postgres.url()


@pytest.fixture(scope="session")
def kafka() -> str:
    """The address (host:port) of an Apache Kafka broker that the whole run shares."""
    need("kafka")
    from tests.services import kafka

    return kafka.address()


def need(name: str) -> None:
    if reason := missing(name):
        pytest.skip(f"{name} is missing: {reason}")


@pytest.fixture
def own_postgres() -> Iterator[Any]:
    """A running PostgreSQL of the test's own, to stop and start: ``url``, ``stop()``, ``start()``."""
    need("postgres")
    from tests.services.postgres import PostgresServer, binaries

    if binaries() is None:
        pytest.skip("a server of the test's own needs PostgreSQL's binaries")
    server = PostgresServer.create()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_kafka() -> Iterator[Any]:
    """A running Kafka broker of the test's own, to stop and start: ``address``, ``stop()``, ``start()``."""
    need("kafka")
    from tests.services import jars
    from tests.services.kafka import KafkaBroker

    if not jars.are_obtainable():
        pytest.skip("a broker of the test's own needs a JDK and Kafka's jars")
    broker = KafkaBroker.create()
    broker.start()
    yield broker
    broker.forget()


@pytest.fixture
def make_topic(kafka: str) -> Iterator[Callable[..., str]]:
    """Create topics with names of their own: ``make_topic(partitions=3, config={...}) -> name``; deleted afterwards."""
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient({"bootstrap.servers": kafka})
    made: list[str] = []

    def make(name: str | None = None, *, partitions: int = 1, config: dict[str, str] | None = None) -> str:
        topic = name or f"test.{uuid.uuid4().hex}"
        new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config or {})
        admin.create_topics([new])[topic].result(30)
        made.append(topic)
        return topic

    yield make
    if made:
        for outcome in admin.delete_topics(made).values():
            outcome.exception(30)


@pytest.fixture
def topic(make_topic: Callable[..., str]) -> str:
    """A topic of the test's own with one partition."""
    return make_topic()


@pytest.fixture
def child_environment(transactional_db: None) -> Callable[..., dict[str, str]]:
    """Make the environment in which ``python -m django COMMAND`` works on this test's databases.

    ``child_environment(eventbus={...})``; without an argument the child has the settings of the test.
    """

    def environment(eventbus: dict[str, Any] | None = None) -> dict[str, str]:
        fields = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
        entries = {alias: {field: connections[alias].settings_dict[field] for field in fields} for alias in connections}
        ours = {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "EVENTBUS_TEST_DATABASES": json.dumps(entries, default=str),
            "EVENTBUS_TEST_SETTINGS": json.dumps(settings.EVENTBUS if eventbus is None else eventbus),
            "PYTHONPATH": str(ROOT),
        }
        return os.environ | ours

    return environment
