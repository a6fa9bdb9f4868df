"""Is a database error an outage, a clash with somebody else, or the handler's own failure?"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import Enum

from django.db import DatabaseError, InterfaceError, connections

from .run import Run

CLASHES = {"40001", "40P01"}  # serialization_failure, deadlock_detected
FULL = "53100"  # disk_full
OWN_SPACE = ("pgsql_tmp", "shared memory segment")  # what a query fills by itself, whatever else there is room for
NO_UNIT = {"25P01", "3B001"}  # no_active_sql_transaction, invalid_savepoint_specification
GOING_DOWN = {"57P01", "57P02", "57P03", "25P03", "57P05"}  # shutdowns, and sessions that were ended from outside


class Trouble(Enum):
    OUTAGE = "outage"  # the database is gone: no attempt counted
    CLASH = "clash"  # with another transaction: again, one by one
    FAILURE = "failure"  # the handler failed


class Interrupted(Exception):
    """A unit of work was rolled back as a whole; none of its runs counts as an attempt."""

    run: Run | None = None  # the one that was under way; who interrupts again and again while alone is to blame


class Outage(Interrupted):
    """The connection to the database is lost."""


class Abandoned(Exception):
    """The worker stops while the database is away: what was under way stays undone, and comes again."""


class Clash(Interrupted):
    """A deadlock or a serialization failure."""


class CommitRefused(Interrupted):
    """A constraint that is checked at the end was violated by one of the unit's runs."""


class TransactionEnded(Interrupted):
    """A handler committed or rolled back the transaction of its unit, behind Django's back."""


class Fenced(Interrupted):
    """Somebody else raised the epoch of these partition rows."""

    def __init__(self, partition_ids: Collection[int]) -> None:
        super().__init__(f"epoch raised on partition rows {sorted(partition_ids)}")
        self.partition_ids = frozenset(partition_ids)


def diagnose(error: BaseException, *, using: str) -> Trouble:
    """Tell what an exception that came out of an open unit of work means.

    Only the unit's own connection tells of an outage: the error of another database that a handler uses is the
    handler's. A full disk is an outage whoever meets it, since the error does not tell whose disk it is.
    """
    if is_lost(using) or is_full(error):
        return Trouble.OUTAGE
    return Trouble.CLASH if CLASHES.intersection(_states(error)) or _is_locked(error) else Trouble.FAILURE


def diagnose_outside(error: BaseException) -> Trouble:
    """Tell what an exception means that was raised outside of a transaction."""
    states = set(_states(error))
    is_outage = states & GOING_DOWN or any(state.startswith("08") for state in states) or is_full(error)
    return Trouble.OUTAGE if is_outage else Trouble.FAILURE


def has_ended(error: DatabaseError) -> bool:
    """Say whether a statement of the unit found neither its transaction nor its savepoint."""
    return bool(NO_UNIT.intersection(_states(error))) or "no such savepoint" in str(error)


def is_lost(using: str) -> bool:
    """Say whether the connection of an open unit is gone."""
    connection = connections[using]
    if connection.connection is None or connection.closed_in_transaction:
        return True
    return bool(getattr(connection.connection, "closed", False))


def is_full(error: BaseException) -> bool:
    """Say whether a database has no room for rows; only a database is believed, whatever a handler's error quotes."""
    for link in _chain(error):
        if getattr(link, "sqlstate", None) == FULL:
            return not any(own in str(link) for own in OWN_SPACE)
        if isinstance(link, DatabaseError) and "database or disk is full" in str(link):
            return True
    return False


def _states(error: BaseException) -> Iterator[str]:
    """Yield the SQLSTATEs of an error and of what it was raised from."""
    for link in _chain(error):
        state = getattr(link, "sqlstate", None)
        if state is not None:
            yield str(state)
        if isinstance(link, InterfaceError):
            yield "08006"


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    for _ in range(10):
        if current is None:
            return
        yield current
        current = current.__cause__ or current.__context__


def _is_locked(error: BaseException) -> bool:
    return isinstance(error, DatabaseError) and "database is locked" in str(error)
