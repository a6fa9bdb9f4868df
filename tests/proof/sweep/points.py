"""Where may a process die? What reaches a database or a broker passes here, is counted, and may be the end."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

NAMES = re.compile(r"\d{6,}")  # of savepoints: a thread's number is in them


class Side(StrEnum):
    BEFORE = "before"  # it has not reached the database or the broker
    AFTER = "after"  # it took effect there, and nobody here has heard of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Be one place at which a run ends: told by what passes and how often it has, since threads change its number."""

    label: str
    occurrence: int
    side: Side

    def __str__(self) -> str:
        return f"{self.side} {self.label[:140]} ({self.occurrence})"


@dataclass(slots=True)
class Passing:
    """Be told of what passes that it changed nothing, as an idle poll: it is no point, however often it comes."""

    was_idle: bool = False


class Points:
    """Count what passes, from `arm` on; die where told. `_lock` protects `passed`: workers have several threads."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self._death: Death | None = None
        self._is_armed = False
        self._told = -1
        self._lock = threading.Lock()

    def arm(self, death: Death | None, *, told: int) -> None:
        """Count from now on; `told` is a descriptor that hears what the process died of."""
        self.passed, self._death, self._told, self._is_armed = [], death, told, True

    def disarm(self) -> None:
        self._is_armed = False

    @contextmanager
    def point(self, label: str) -> Iterator[Passing]:
        """Bracket something that takes effect elsewhere."""
        passing = Passing()
        if not self._is_armed:
            yield passing
            return
        label = NAMES.sub("#", " ".join(label.split()))
        with self._lock:
            self.passed.append(label)
            occurrence = self.passed.count(label)
        self._die_at(Death(label=label, occurrence=occurrence, side=Side.BEFORE))
        try:
            yield passing
        finally:
            if passing.was_idle:
                self._forget(label)
            else:
                self._die_at(Death(label=label, occurrence=occurrence, side=Side.AFTER))

    def _forget(self, label: str) -> None:
        with self._lock:
            self.passed.reverse()
            self.passed.remove(label)
            self.passed.reverse()

    def _die_at(self, here: Death) -> None:
        if self._is_armed and here == self._death:
            os.write(self._told, json.dumps({"died": str(here)}).encode())
            os.kill(os.getpid(), signal.SIGKILL)


def deaths(passed: Sequence[str]) -> list[Death]:
    """Return every way to die in a run that passed this."""
    seen = Counter[str]()
    found = []
    for label in passed:
        seen[label] += 1
        found += [Death(label=label, occurrence=seen[label], side=side) for side in Side]
    return found


points = Points()
