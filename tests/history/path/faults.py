"""What is done to whom, and when? The seed says it all, so that a run can be repeated as far as clocks allow."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tests.history.members import Members
from tests.history.relay_history import GRACE

FROZEN_FOR = 9.0  # seconds: longer than the session time-out of a consumer
LONGEST = 60.0  # seconds that somebody is frozen in the long form
# How often each is harmed: the partitions of a consumer wait for the end of his session, so that most of the time all
# would stand still if consumers were harmed as often as relays.
CREWS = {"consumers": 3, "relays": 10, "writers": 4}
SESSIONS = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY backend_start
"""


class Kind(Enum):
    """Say what is done."""

    KILL = "kill"
    FREEZE = "freeze"
    LEAVE = "rebalance"  # a member is asked to go, and another one comes
    END_SESSION = "end session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One harm: its moment, its victim as a share of those who are there, and how long it lasts."""

    at: float  # seconds since the beginning
    kind: Kind
    crew: str
    victim: float
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return self.kind.value if self.kind is Kind.END_SESSION else f"{self.kind.value} {self.crew}"


def schedule(seed: int, *, every: float, longest: float) -> Iterator[Fault]:
    """Yield faults for ever, one about every so many seconds; nobody is frozen for longer than `longest`."""
    draws = random.Random(f"faults/{seed}")
    at = 0.0
    while True:
        at += draws.expovariate(1 / every)
        kind = draws.choices([*Kind], [8, 6, 1, 8])[0]
        crew = "consumers" if kind is Kind.LEAVE else draws.choices([*CREWS], [*CREWS.values()])[0]
        seconds = _frozen_for(crew, draws, longest) if kind is Kind.FREEZE else 0.0
        yield Fault(at=at, kind=kind, crew=crew, victim=draws.random(), seconds=seconds)


def _frozen_for(crew: str, draws: random.Random, longest: float) -> float:
    """Just so long that nobody notices, longer than others wait for it, or very long."""
    just = {"consumers": FROZEN_FOR, "relays": GRACE + 1.5, "writers": 2.0}[crew]
    return min(longest, draws.choices([0.3, just, draws.uniform(just, longest)], [4, 5, 1])[0])


@dataclass(kw_only=True)
class Torment:
    """Do what the schedule says, and count it."""

    faults: Iterator[Fault]
    crews: Mapping[str, Members]
    ask: Callable[..., list[tuple[Any, ...]]]  # the database
    done: Counter[str] = field(default_factory=Counter)
    _began: float = field(default_factory=time.monotonic)
    _next: Fault | None = None

    def go_on(self) -> None:
        """Do all that is due."""
        while (fault := self._next or next(self.faults)).at <= time.monotonic() - self._began:
            self._do(fault)
            self.done[fault.name] += 1
            self._next = None
        self._next = fault

    def _do(self, fault: Fault) -> None:
        crew = self.crews[fault.crew]
        match fault.kind:
            case Kind.KILL:
                crew.kill(fault.victim)
            case Kind.FREEZE:
                crew.freeze(fault.victim, seconds=fault.seconds)
            case Kind.LEAVE:
                crew.leave(fault.victim)
            case Kind.END_SESSION:
                if sessions := self.ask(SESSIONS):
                    self.ask("SELECT pg_terminate_backend(%s)", sessions[int(fault.victim * len(sessions))][0])
