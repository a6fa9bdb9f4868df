"""What has a saga's method written by itself, and how is it undone where its step is taken anew?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction


class OwnWrites:
    """Set a savepoint before the first statement of a method that may write. One that only decides costs nothing."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._connection = connections[using]
        self._hooks = len(self._connection.run_on_commit)
        self._has_written = False
        self._savepoint: Any = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the statements of this block."""
        with self._connection.execute_wrapper(self._execute):
            yield

    def keep(self) -> None:
        """Let what was written be part of the step."""
        if self._savepoint is not None:
            transaction.savepoint_commit(self._savepoint, using=self._using)

    def undo(self) -> None:
        """Take back what was written, and what was to run after the commit."""
        if self._savepoint is not None:
            transaction.savepoint_rollback(self._savepoint, using=self._using)
        del self._connection.run_on_commit[self._hooks :]  # a hook needs no statement, so perhaps no savepoint

    def _execute(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:  # noqa: FBT001
        if not self._has_written and not str(sql).lstrip().upper().startswith("SELECT"):
            self._has_written = True  # first: the savepoint is a statement itself
            self._savepoint = transaction.savepoint(using=self._using)
        return execute(sql, params, many, context)
