"""Where and how a process kills or freezes itself, as its environment says.

``CHAOS_KILL``, ``CHAOS_STOP``: probabilities at each point; ``CHAOS_AT``: the one point at which it dies;
``CHAOS_ONCE``: a file that says, once it is there, that this has happened.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

KILL = float(os.environ.get("CHAOS_KILL", "0"))
STOP = float(os.environ.get("CHAOS_STOP", "0"))
AT = os.environ.get("CHAOS_AT", "")
ONCE = os.environ.get("CHAOS_ONCE", "")
RARE = {"handler": 60, "retry handler": 20}  # points that are passed so often that their share is divided


def point(name: str) -> None:
    """Perhaps die or freeze here."""
    if name == AT and not Path(ONCE).exists():
        Path(ONCE).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if not (KILL or STOP):
        return
    drawn = random.random() * RARE.get(name, 1)
    if drawn < STOP:
        os.kill(os.getpid(), signal.SIGSTOP)
    elif drawn < STOP + KILL:
        os.kill(os.getpid(), signal.SIGKILL)


def arm() -> None:
    """Put the points into the consumer; only in a process that asked for them."""
    if not (KILL or STOP or AT):
        return
    from django_eventbus.consumer import ownership, unit, worker
    from django_eventbus.consumer.retries import Retries

    commit, store, take = unit.Unit._commit, worker.Worker._store, ownership.Ownership._take
    open_retries, close_retries = Retries.open, Retries.close

    def committing(self: Any) -> None:
        point("before commit")
        commit(self)
        point("after commit")

    def storing(self: Any, claims: Any) -> None:
        if claims:
            point("before store")
        store(self, claims)
        if claims:
            point("after store")

    def taking(self: Any, place: Any) -> Any:
        point("take")
        return take(self, place)

    def opening(self: Any) -> None:
        open_retries(self)
        point("in retry unit")

    def closing(self: Any) -> None:
        close_retries(self)
        point("end of retry unit")

    unit.Unit._commit = committing  # type: ignore[method-assign]
    worker.Worker._store = storing  # type: ignore[method-assign]
    ownership.Ownership._take = taking  # type: ignore[method-assign]
    Retries.open, Retries.close = opening, closing  # type: ignore[method-assign]
