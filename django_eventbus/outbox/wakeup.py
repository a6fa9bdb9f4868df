"""How does a commit wake the relay, without costing the transaction anything?

Polling stands underneath every way of waking, so a lost wake-up costs latency, never an event.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connections

from django_eventbus.conf import BusConfig

from .background import background_relays
from .notifier import notifiers
from .postgresql_bell import PostgresqlBell
from .ways import Way, way_of

Waker = Callable[[BusConfig, str], None]


def wake(config: BusConfig, using: str) -> None:
    """Tell the relay of a bus that rows were committed on a database alias; returns at once."""
    # Under TestCase the hooks may run while its transaction is still open: nobody else could see the rows.
    if connections[using].in_atomic_block or not _is_allowed():
        return
    waker = _wakers.get(way_of(config, using))
    if waker is not None:
        waker(config, using)


def wake_after_commit(config: BusConfig, using: str) -> None:
    """Wake the relay once the open transaction commits; every write registers this for itself.

    One shared registration would be lost with a savepoint that rolls back.
    """
    connection = connections[using]

    def wake_relay() -> None:  # a plain function, no partial: Django asks a robust hook that raises for its name
        wake(config, using)

    # Under set_autocommit(False) there is no hook to register: polling finds the rows.
    if connection.in_atomic_block or connection.get_autocommit():
        connection.on_commit(wake_relay, robust=True)


def register_waker(way: Way, waker: Waker) -> None:
    """Let a module further up bring a way of waking that this one must not import."""
    _wakers[way] = waker


def hold() -> None:
    """Wake nobody from now on: `migrate` is at work, and a woken handler would meet half-made tables."""
    global _is_held
    _is_held = True


def release() -> None:
    """Wake again; what was committed meanwhile is found by polling, or with the next commit."""
    global _is_held
    _is_held = False


@contextmanager
def waking_in_tests() -> Iterator[None]:
    """Let commits wake relays inside Django's test environment, where they otherwise do not.

    There, a thread or a connection that outlives its test would block the test database from being flushed or dropped.
    """
    global _allowed_in_tests
    before, _allowed_in_tests = _allowed_in_tests, True
    try:
        yield
    finally:
        _allowed_in_tests = before
        notifiers.stop()
        background_relays.stop()


def _notify(config: BusConfig, using: str) -> None:
    alias = config.outbox.listen_database or using
    notifiers.of(f"notify-{config.alias}-{alias}", lambda: PostgresqlBell(config.alias, using=alias)).request()


def _is_allowed() -> bool:
    return not _is_held and (_allowed_in_tests or not is_test_environment())


def is_test_environment() -> bool:
    """Say whether `setup_test_environment` is in force in this process."""
    state = getattr(sys.modules.get("django.test.utils"), "_TestState", None)
    return hasattr(state, "saved_data")


_is_held = False
_allowed_in_tests = False
_wakers: dict[Way, Waker] = {"notify": _notify}
