"""Which harnesses make up the long form of the proof, and how is each told for how long to run?"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

LEAST = 1.0  # minutes that a harness gets, however small the budget
SWEEP = ("tests.proof.sweep", "--jobs", str(max(2, os.cpu_count() or 1)), "--pairs", "5", "--database")


def by_minutes(minutes: float) -> Sequence[str]:
    return ("--minutes", f"{minutes:.1f}")


def by_size(option: str, *, a_minute: int) -> Callable[[float], Sequence[str]]:
    """Turn minutes into a size, for what ends after so much instead of so long."""
    return lambda minutes: (option, str(max(1, round(minutes * a_minute))))


def as_it_is(minutes: float) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """Say how a harness is run in its long form."""

    name: str
    command: tuple[str, ...]  # what stands behind `python -m`
    whole: tuple[str, ...] = ()  # without a budget
    told: Callable[[float], Sequence[str]] = as_it_is
    share: float = 0.0  # of what is left of the budget; 0: takes its time
    takes: float = 0.0  # minutes, of which that is known
    takes_seed: bool = True

    def arguments(self, *, minutes: float | None, seed: int) -> list[str]:
        """Return the arguments of Python; without minutes, those of the whole long form."""
        pace = self.whole if minutes is None else self.told(minutes)
        return ["-m", *self.command, *pace, *(("--seed", str(seed)) if self.takes_seed else ())]


HARNESSES: Mapping[str, Harness] = {
    harness.name: harness
    for harness in (
        Harness(name="model", command=("tests.proof.model", "--large"), takes=3, takes_seed=False),
        Harness(name="differential", command=("tests.proof.differential", "--every-step"), takes=6),
        Harness(name="sweep", command=(*SWEEP, "postgresql"), told=by_minutes, share=0.2),
        Harness(name="sweep-sqlite", command=(*SWEEP, "sqlite"), told=by_minutes, share=0.1),
        Harness(
            name="relay",
            command=("tests.history.relay_history",),
            whole=("--seconds", "600"),
            told=by_size("--seconds", a_minute=60),
            share=0.05,
        ),
        Harness(
            name="history",
            command=("tests.history.path_history",),
            whole=("--events", "1000000"),
            told=by_minutes,
            share=0.2,
        ),
        Harness(
            name="sagas",
            command=("tests.history.saga_history",),
            whole=("--sagas", "5000"),
            told=by_size("--sagas", a_minute=300),
            share=0.1,
        ),
        Harness(name="chaos", command=("tests.proof.chaos",), takes=15),
        Harness(name="fuzz", command=("tests.proof.fuzz",), told=by_size("--records", a_minute=60_000), share=0.1),
        Harness(name="soak", command=("tests.proof.soak",), told=by_minutes, share=0.25),
    )
}


def shares_of(names: Collection[str], *, minutes: float) -> dict[str, float]:
    """Divide a budget: first what takes its time, then the rest by shares."""
    chosen = [HARNESSES[name] for name in names]
    left = max(0.0, minutes - sum(harness.takes for harness in chosen))
    whole = sum(harness.share for harness in chosen) or 1.0
    return {
        harness.name: max(LEAST, left * harness.share / whole) if harness.share else harness.takes for harness in chosen
    }
