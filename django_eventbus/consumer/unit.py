"""How do many handler runs share one transaction, so that a failure undoes its own run and no other?"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Protocol, cast

from django.db import DatabaseError, connections, transaction

from django_eventbus.models.unit import keep_savepoint, limit_statements, undo_savepoint

from .run import Run
from .trouble import (
    Clash,
    CommitRefused,
    Interrupted,
    Outage,
    TransactionEnded,
    Trouble,
    diagnose,
    has_ended,
    is_lost,
)

logger = logging.getLogger(__name__)


class Ledger(Protocol):
    """Know which runs a unit has, and write down what becomes of each, inside its transaction."""

    def open(self) -> None:
        """Fence and read: the unit's first statements. Raises Fenced."""

    def admitted(self) -> Iterator[Run]:
        """Yield what has to run, in order; what became of the one before decides about the next."""

    def steps_aside(self, run: Run) -> bool:
        """Queue an admitted run behind one of its key that failed after it was admitted."""

    def handled(self, run: Run) -> None: ...
    def failed(self, run: Run, error: BaseException) -> None: ...

    def close(self) -> None:
        """Write what is left to write, before the commit."""

    def report(self) -> None:
        """Tell the receivers of signals, after the commit."""

    def release(self) -> None:
        """Take back what a handler has committed though its unit had not ended."""


class Unit(AbstractContextManager["Unit"]):
    """Run deliveries in one transaction, each in a savepoint of its own.

    Leaving the block commits and tells the receivers of signals; any exception inside it rolls everything back. Raises
    Outage, Clash or Fenced where the unit as a whole has to be run again.
    """

    def __init__(self, ledger: Ledger, *, using: str) -> None:
        self.using = using
        self._ledger = ledger
        self._connection = connections[using]
        self._atomic: Any = None
        self._is_outermost = True  # False inside a test's transaction
        self._first_hook = 0
        self._hooks = 0  # len(run_on_commit) at the last savepoint
        self._began = 0.0
        self._is_committed = False

    def __enter__(self) -> Unit:
        try:
            self._atomic = transaction.atomic(using=self.using)
            self._atomic.__enter__()
        except DatabaseError as exc:
            raise Outage(str(exc)) from exc
        try:
            with self._own_statements():
                self._ledger.open()
            self._is_outermost = len(self._connection.atomic_blocks) == 1
            self._first_hook = len(self._connection.run_on_commit)
            if self._is_outermost:
                transaction.on_commit(self._note_commit, using=self.using)
            self._mark()
        except BaseException as exc:
            self._leave(exc)
            raise
        return self

    def due(self) -> Iterator[Run]:
        """Yield, in order, the deliveries that have to run now; each ends with `succeed` or `fail`."""
        with self._own_statements():
            for run in self._ledger.admitted():
                if run.condemned is not None:
                    self._ledger.failed(run, run.condemned)
                else:
                    self.start(run)
                    yield run

    def start(self, run: Run) -> None:
        """Begin a handler's time."""
        timeout = run.delivery.handler.timeout
        if timeout is not None:
            limit_statements(self.using, max(1, round(timeout.total_seconds() * 1000)))
        self._began = time.monotonic()

    def steps_aside(self, run: Run) -> bool:
        """Say whether a run of its key has failed meanwhile, so that this one has to wait."""
        return self._ledger.steps_aside(run)

    def succeed(self, runs: Sequence[Run]) -> None:
        """Keep what a handler did; one run, or those of a batch handler. Raises what shows that it did not succeed."""
        elapsed = time.monotonic() - self._began
        keep_savepoint(self.using)
        if runs[0].delivery.handler.timeout is not None:
            limit_statements(self.using, None)
        self._mark()
        for run in runs:
            run.duration = elapsed
            self._ledger.handled(run)

    def undo(self, error: BaseException) -> None:
        """Undo what a handler did; raise Outage or Clash where not the handler is to blame."""
        match diagnose(error, using=self.using):
            case Trouble.OUTAGE:
                raise Outage(str(error)) from error
            case Trouble.CLASH:
                raise Clash(str(error)) from error
            case Trouble.FAILURE:
                self._undo()

    def fail(self, run: Run, error: BaseException) -> None:
        """Undo what a handler did, and write down that it failed."""
        self.undo(error)
        run.duration = time.monotonic() - self._began
        with self._own_statements():
            self._ledger.failed(run, error)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is not None:
            self._leave(exc)
            if isinstance(exc, TransactionEnded):
                self._ledger.release()
            return
        try:
            with self._own_statements():
                self._ledger.close()
        except BaseException as error:
            self._leave(error)
            raise
        self._commit()
        self._ledger.report()

    def _commit(self) -> None:
        hooks = self._connection.run_on_commit
        # Each entry is (savepoints, function, is robust): replace the function and keep the rest.
        own = cast("list[tuple[Any, ...]]", hooks[self._first_hook :])
        hooks[self._first_hook :] = [(first, _contained(hook), *rest) for first, hook, *rest in own]
        try:
            self._atomic.__exit__(None, None, None)
        except DatabaseError as exc:
            if not self._is_committed:
                is_outage = diagnose(exc, using=self.using) is Trouble.OUTAGE
                raise (Outage if is_outage else CommitRefused)(str(exc)) from exc
        if self._is_outermost and not self._is_committed:
            raise Outage("the transaction was rolled back instead of committed")

    def _leave(self, exc: BaseException) -> None:
        """Roll back; a connection that is gone has rolled back already."""
        try:
            self._atomic.__exit__(type(exc), exc, exc.__traceback__)
        except DatabaseError:
            self._connection.close()

    def _mark(self) -> None:
        self._hooks = len(self._connection.run_on_commit)

    def _undo(self) -> None:
        # Hooks and the rollback mark belong to Django, not to the server: a bare ROLLBACK TO would leave both behind,
        # and the hooks of a failed run would fire.
        self._connection.needs_rollback = False  # first: Django would refuse the statement on SQLite
        with self._own_statements():
            undo_savepoint(self.using)
        del self._connection.run_on_commit[self._hooks :]

    @contextmanager
    def _own_statements(self) -> Iterator[None]:
        """Blame no handler for a statement of ours that fails."""
        try:
            yield
        except DatabaseError as exc:
            raise self._interruption(exc) from exc

    def _interruption(self, exc: DatabaseError) -> Interrupted:
        if has_ended(exc) and not is_lost(self.using):
            return TransactionEnded("a handler ended the transaction that it shares with others: leave that to Django")
        match diagnose(exc, using=self.using):
            case Trouble.CLASH:
                return Clash(str(exc))
            case Trouble.OUTAGE | Trouble.FAILURE:  # our own statement failed: no handler is to blame for it
                return Outage(str(exc))

    def _note_commit(self) -> None:
        self._is_committed = True


def _contained(hook: Callable[[], object]) -> Callable[[], None]:
    """Let a hook fail alone: the transaction is committed, and the hooks of the other messages still have to run."""

    def run() -> None:
        try:
            hook()
        # The boundary of the unit: nothing that a hook raises may run the messages again.
        except BaseException:
            logger.exception("on_commit hook failed hook=%r", hook)

    return run
