"""What is wrong with this project's use of the event bus, as far as can be seen before it runs?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from .bus import Bus, buses
from .conf import LOCAL_TRANSPORT, MEMORY_TRANSPORT, BusConfig, Severity, problems
from .delivery import domain_inspection
from .delivery import inspection as handler_inspection
from .delivery.registry import handlers
from .events import inspection as event_inspection
from .events.inspection import Problem
from .events.registry import events
from .exceptions import ConfigurationError
from .models import OutboxMessage
from .recurrence import inspection as recurrence_inspection
from .recurrence.registry import recurrings
from .sagas import inspection as saga_inspection
from .sagas.declaration import sagas

Check = Callable[..., Sequence[CheckMessage]]

OLDEST_POSTGRESQL = 140000
OLDEST_SQLITE = (3, 35, 0)  # the first that knows RETURNING; 3.32 was the first to take more than 999 parameters


def check_settings(**_: Any) -> list[CheckMessage]:
    """Read EVENTBUS; the other checks are silent until it is right."""
    found = problems(getattr(settings, "EVENTBUS", None))
    return [
        Error(problem.message, hint=problem.hint or None, id="eventbus.E020")
        for problem in found
        if problem.severity is Severity.ERROR
    ]


def check_events(**_: Any) -> list[CheckMessage]:
    """Look at all declarations of events, now that every name can be resolved."""
    return [_message(problem) for problem in event_inspection.find_problems(events.all(), _configs())]


def check_handlers(**_: Any) -> list[CheckMessage]:
    """Look at all handlers and the groups that they form."""
    return [_message(problem) for problem in handler_inspection.find_problems(handlers.all(), _configs())]


def check_domain_events(**_: Any) -> list[CheckMessage]:
    """Look at the events that stay inside the service, and at what handles and translates them."""
    found = domain_inspection.find_problems(events.all(), handlers.all(), _configs())
    return [_message(problem) for problem in found]


def check_sagas(**_: Any) -> list[CheckMessage]:
    """Look at all sagas; their handlers are looked at with the others."""
    return [_message(problem) for problem in saga_inspection.find_problems(sagas.all(), _configs())]


def check_recurring(**_: Any) -> list[CheckMessage]:
    """Look at what recurs; silent, as the others, until the settings are right."""
    known = [config.alias for config in _configs()]
    return [_message(problem) for problem in recurrence_inspection.find_problems(recurrings.all(), known) if known]


def check_transports(**_: Any) -> list[CheckMessage]:
    """Build each bus's transport, which contacts nobody, and ask it what is wrong with its options."""
    return [message for bus in _buses() for message in (*_transport(bus), *_wake_up(bus.config))]


def check_databases(**_: Any) -> list[CheckMessage]:
    """Look at the settings of each database that holds an outbox or an inbox."""
    return [message for alias in _aliases() for message in _database(connections[alias])]


def check_connected_databases(*, databases: Iterable[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Ask the servers themselves; run by `migrate` and `check --database`."""
    asked = set(databases or ())
    return [message for alias in _aliases() if alias in asked for message in _server(connections[alias])]


def check_deployment(**_: Any) -> list[CheckMessage]:
    """Say what is fine on a developer's machine only."""
    found = problems(getattr(settings, "EVENTBUS", None))
    guesses = [problem for problem in found if problem.severity is Severity.DEPLOYMENT]
    messages: list[CheckMessage] = [
        Error(problem.message, hint=problem.hint or None, id="eventbus.E021") for problem in guesses
    ]
    return messages + [message for bus in _buses() for message in _for_developers(bus.config)]


CHECKS: tuple[Check, ...] = (
    check_settings,
    check_events,
    check_handlers,
    check_domain_events,
    check_sagas,
    check_recurring,
    check_transports,
    check_databases,
)
DATABASE_CHECKS: tuple[Check, ...] = (check_connected_databases,)
DEPLOYMENT_CHECKS: tuple[Check, ...] = (check_deployment,)


def _buses() -> tuple[Bus, ...]:
    try:
        return buses.values()
    except ConfigurationError:
        return ()  # check_settings says it


def _configs() -> list[BusConfig]:
    return [bus.config for bus in _buses()]


def _aliases() -> list[str]:
    try:
        named = buses.databases()
    except ConfigurationError:
        return []
    return [alias for alias in named if alias in connections]  # check_handlers tells of the others


def _message(problem: Problem) -> CheckMessage:
    kind = Error if problem.id.startswith("E") else Warning
    return kind(problem.message, hint=problem.hint, obj=problem.obj, id=f"eventbus.{problem.id}")


def _transport(bus: Bus) -> Iterator[CheckMessage]:
    try:
        transport = bus.transport
    except ConfigurationError as exc:
        has_remedy = "pip install" in str(exc)
        hint = None if has_remedy else "Use kafka, local, memory, or the path of a transport."
        yield Error(str(exc), hint=hint, id="eventbus.E050")
        return
    except ImportError as exc:
        hint = "Install its client, such as django-eventbus[kafka]."
        yield Error(f"{_path(bus.config)}['TRANSPORT']: {exc}.", hint=hint, id="eventbus.E050")
        return
    inspect: Callable[[], list[str]] | None = getattr(transport, "problems", None)
    for text in inspect() if inspect is not None else ():
        yield Error(text, id="eventbus.E051")


def _wake_up(config: BusConfig) -> Iterator[CheckMessage]:
    path = f"{_path(config)}['OUTBOX']['WAKE_WITH']"
    way = config.outbox.wake_with
    if way == "celery" and find_spec("celery") is None:
        yield Error(
            f"{path} is 'celery', which is not installed.",
            hint="pip install django-eventbus[celery]",
            id="eventbus.E052",
        )
    if way == "notify" and connections[config.database].vendor != "postgresql":
        yield Error(
            f"{path} is 'notify', but database {config.database!r} is not PostgreSQL.",
            hint="Leave it out: what fits the database is chosen.",
            id="eventbus.E053",
        )


def _database(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    alias = connection.alias
    match connection.vendor:
        case "postgresql":
            yield from _postgresql(connection)
        case "sqlite":
            yield from _sqlite(connection)
        case vendor:
            yield Error(
                f"Database {alias!r} is {vendor}: the event bus works on PostgreSQL 14 or newer and on SQLite.",
                hint="Give the bus another DATABASE.",
                id="eventbus.E040",
            )
    if not router.allow_migrate_model(alias, OutboxMessage):
        yield Error(
            f"DATABASE_ROUTERS keeps the tables of the event bus off database {alias!r}, where they are needed.",
            hint="Let allow_migrate() return True for the app label 'eventbus' there.",
            id="eventbus.E044",
        )


def _postgresql(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    place = f"DATABASES[{connection.alias!r}]"
    if connection.Database.__name__ != "psycopg":  # type: ignore[attr-defined]
        yield Error(
            f"{place} is reached through psycopg2.",
            hint="pip install 'django-eventbus[postgres]': psycopg 3 is needed.",
            id="eventbus.E041",
        )
    level = connection.settings_dict["OPTIONS"].get("isolation_level")
    if level is not None and getattr(level, "name", level) not in {"READ_COMMITTED", 2}:
        yield _isolation(f"{place}['OPTIONS']['isolation_level'] is {level!r}")


def _sqlite(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    options = connection.settings_dict["OPTIONS"]
    place = f"DATABASES[{connection.alias!r}]['OPTIONS']"
    version: tuple[int, ...] = connection.Database.sqlite_version_info  # type: ignore[attr-defined]
    if version < OLDEST_SQLITE:
        yield Error(
            f"DATABASES[{connection.alias!r}] is SQLite {'.'.join(map(str, version))}; 3.35 or newer is needed.",
            hint="It is the library that Python was built with: take another Python, or PostgreSQL.",
            id="eventbus.E045",
        )
    if str(options.get("transaction_mode", "")).upper() not in {"IMMEDIATE", "EXCLUSIVE"}:
        yield Warning(
            f"{place}['transaction_mode'] is not 'IMMEDIATE': two writers at once end in 'database is locked'.",
            hint="Set it to 'IMMEDIATE'.",
            id="eventbus.W040",
        )
    if "journal_mode=wal" not in str(options.get("init_command", "")).lower().replace(" ", ""):
        yield Warning(
            f"{place}['init_command'] does not switch on WAL: readers and the relay would block writers.",
            hint="Set it to 'PRAGMA journal_mode=WAL;'.",
            id="eventbus.W041",
        )


def _server(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version_num')::int, current_setting('transaction_isolation')")
        version, level = cursor.fetchone()
    if version < OLDEST_POSTGRESQL:
        yield Error(
            f"Database {connection.alias!r} runs PostgreSQL {version // 10000}.",
            hint="PostgreSQL 14 or newer is needed.",
            id="eventbus.E043",
        )
    if level != "read committed":
        yield _isolation(f"Database {connection.alias!r} begins transactions as {level!r}")


def _isolation(what: str) -> CheckMessage:
    return Error(
        f"{what}: an inbox or a relay that locks first and reads then would read what was there before the lock.",
        hint="Use READ COMMITTED, PostgreSQL's default.",
        id="eventbus.E042",
    )


def _for_developers(config: BusConfig) -> Iterator[CheckMessage]:
    path = f"{_path(config)}['TRANSPORT']"
    if config.transport == LOCAL_TRANSPORT:
        yield Warning(
            f"{path} is local: handlers run inside this project only, by default in a thread of the web processes.",
            hint="Fine for one service. Run drain_outbox as a process of its own, or set TRANSPORT to kafka.",
            id="eventbus.W050",
        )
    if config.transport == MEMORY_TRANSPORT:
        yield Error(
            f"{path} is memory: events end with the process that relays them.",
            hint="It is for tests. Use local or kafka.",
            id="eventbus.E054",
        )


def _path(config: BusConfig) -> str:
    return f"EVENTBUS[{config.alias!r}]"
