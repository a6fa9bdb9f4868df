"""Where and how a process kills or freezes itself, as its environment says.

``CHAOS_MEAN``: seconds that it works on average, until it dies or freezes at a point drawn at random, as ``CHAOS_SEED``
says; ``CHAOS_AT``: the one point at which it dies, or, with ``CHAOS_HOW``, freezes, or lets its thread hang for ever;
``CHAOS_ONCE``: a file that says, once it is there, that this has happened.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

from tests.history.path.notes import CALM, is_there, note

MEAN = float(os.environ.get("CHAOS_MEAN", "0"))
AT = os.environ.get("CHAOS_AT", "")
ONCE = os.environ.get("CHAOS_ONCE", "")
HOW = os.environ.get("CHAOS_HOW", "die")
chance = random.Random(os.environ.get("CHAOS_SEED"))
POINTS = (
    "handler",
    "retry handler",
    "before commit",
    "after commit",
    "before store",
    "after store",
    "take",
    "in retry unit",
    "end of retry unit",
)


class Doom:
    """When and where the next harm happens; a point that is not passed within a second is drawn again.

    Time begins with the first work: whoever died while he starts would die at the same message again and again.
    """

    def __init__(self) -> None:
        self._at: float | None = None
        self._point = ""

    def draw(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds
        self._point = chance.choice(POINTS)

    def strikes(self, point: str) -> bool:
        if self._at is None:
            self.draw(chance.expovariate(1 / MEAN))
            return False
        late = time.monotonic() - self._at
        if late > 1:
            self.draw(0)
        return late > 0 and point == self._point


doom = Doom()


def point(name: str) -> None:
    """Perhaps die or freeze here."""
    if name == AT and not Path(ONCE).exists():
        Path(ONCE).touch()
        if HOW == "hang":
            threading.Event().wait()
        os.kill(os.getpid(), signal.SIGSTOP if HOW == "freeze" else signal.SIGKILL)
    if MEAN and doom.strikes(name):
        doom.draw(chance.expovariate(1 / MEAN))
        if not is_there(CALM):
            note("struck", name)
            os.kill(os.getpid(), chance.choice([signal.SIGKILL, signal.SIGSTOP]))


def arm() -> None:
    """Put the points into the consumer; only in a process that asked for them."""
    if not (MEAN or AT):
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
