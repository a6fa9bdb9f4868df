"""How are the instances that many messages of one transaction are for read at once, and locked in one order?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connections

from django_eventbus.delivery.deliveries import Delivery, saga_key_of
from django_eventbus.models import SagaState
from django_eventbus.models.saga import SagaStateQuerySet, StoredSaga

from .declaration import sagas

# By the atomic block that they were read in: with it they are forgotten.
_preloaded: WeakKeyDictionary[Any, dict[tuple[str, str], StoredSaga | None]] = WeakKeyDictionary()


def preload(deliveries: Iterable[Delivery], *, using: str) -> None:
    """Read and lock the instances of these deliveries; must run inside atomic. SQLite has one writer and no way to go.

    Locked in one order, two units that step into the same instances wait for each other instead of ending in a
    deadlock. What is read is given out once: after a step, or after an undone one, the next one reads again.
    """
    if connections[using].vendor != "postgresql":
        return
    by_locking: dict[bool, set[tuple[str, str]]] = {}
    for delivery in deliveries:
        declaration, key = sagas.find(delivery.handler.name), saga_key_of(delivery)
        if declaration is not None and key:
            by_locking.setdefault(declaration.concurrency == "lock", set()).add((declaration.name, key))
    rows = SagaStateQuerySet(SagaState, using=using)
    found: dict[tuple[str, str], StoredSaga | None] = {}
    for locks, wanted in by_locking.items():
        found |= dict.fromkeys(wanted)
        found |= rows.find_all(wanted, locks=locks)
    if found:
        _preloaded[connections[using].atomic_blocks[-1]] = found


def take_preloaded(saga: str, key: str, *, using: str) -> tuple[bool, StoredSaga | None]:
    """Say whether an instance was looked for, and return what was found; once."""
    blocks = connections[using].atomic_blocks
    found = _preloaded.get(blocks[-1]) if blocks else None
    if found is None or (saga, key) not in found:
        return False, None
    return True, found.pop((saga, key))
