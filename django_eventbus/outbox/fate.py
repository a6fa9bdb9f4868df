"""Has the transaction in which something was written survived so far?"""

from __future__ import annotations

from weakref import ref

from django.db import connections, transaction


class Fate:
    """Follow the open transaction of a database, savepoints included, from where it was made."""

    def __init__(self, using: str) -> None:
        self.is_committed = False
        hook = self._commit
        # Held by the connection alone: Django drops it with the savepoint or transaction that is rolled back.
        self._hook = ref(hook)
        if connections[using].in_atomic_block or connections[using].get_autocommit():
            transaction.on_commit(hook, using=using)
        else:
            self.is_committed = True  # set_autocommit(False) knows no hooks

    @property
    def is_rolled_back(self) -> bool:
        return self._hook() is None and not self.is_committed

    def _commit(self) -> None:
        self.is_committed = True
