"""Which runs does a sweep make, and what do they come to together?"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from django.core.management import call_command
from django.db import connection, connections

from tests.proof.sweep import settings as own
from tests.proof.sweep.children import in_child
from tests.proof.sweep.crew import Crew, room
from tests.proof.sweep.points import Death, deaths
from tests.proof.sweep.trials import Trial, Verdict, demand

PROGRESS_EVERY = 15.0  # seconds


@dataclass(kw_only=True)
class Swept:
    """What the sweep of one scenario came to."""

    name: str
    database: str
    points: int = 0  # crash points of an undisturbed run
    distinct: int = 0  # different statements and calls among them
    chosen: int = 0  # runs that were meant to be made, undisturbed ones apart
    runs: int = 0
    deaths: int = 0  # processes that were killed
    survived: int = 0  # runs that ended before they came to their point
    cost: float = 0.0  # processor time of all runs, in seconds
    findings: list[str] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        self.runs += 1
        self.deaths += verdict.killed
        self.survived += verdict.is_survived
        self.findings += verdict.findings
        self.cost = round(self.cost + verdict.cost, 3)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Say at which points to kill."""

    seed: int
    share: float = 1.0
    whole: Sequence[str] = ()  # scenarios of which all points are taken, whatever the share
    text: str = ""  # in the statement, or the call
    pairs: int = 0

    def among(self, name: str, every: Sequence[Death]) -> Iterator[Trial]:
        """Return the chosen ones, and then pairs: of the second, the recovery dies."""
        random = Random(f"{self.seed} {name}")
        every = [death for death in every if self.text in death.label]
        if not every:
            return
        is_whole = self.share >= 1 or name in self.whole
        for death in every if is_whole else random.sample(every, max(1, round(self.share * len(every)))):
            yield Trial(scenario=name, deaths=(death,))
        for _ in range(self.pairs):
            yield Trial(scenario=name, deaths=(random.choice(every), random.choice(every)))


@dataclass(kw_only=True)
class Sweep:
    """Kill each scenario at the chosen points of what it passes undisturbed."""

    crew: Crew
    choice: Choice
    is_over: Callable[[], bool]
    is_shuffled: bool = False  # when time may end before the points do: what is made of them is then a sample
    results: dict[str, Swept] = field(default_factory=dict)

    def run(self, names: Sequence[str]) -> Iterator[Swept]:
        """Yield each scenario when its last run is over."""
        trials = self._find_out(names)
        if self.is_shuffled:
            Random(self.choice.seed).shuffle(trials)
        progress = Progress(total=len(trials), every=self.results.values())
        for trial, verdict in self.crew.attempt(trials, is_over=self.is_over):
            swept = self.results[trial.scenario]
            swept.add(verdict)
            for finding in verdict.findings:
                sys.stderr.write(f"{trial.scenario}: {finding}\n")
            progress.tell()
            if swept.runs == swept.chosen:
                yield swept
        yield from (swept for swept in self.results.values() if swept.runs < swept.chosen or not swept.chosen)

    def _find_out(self, names: Sequence[str]) -> list[Trial]:
        self.results = {name: Swept(name=name, database=connection.vendor) for name in names}
        found: dict[str, list[Trial]] = {}
        for trial, verdict in self.crew.attempt([Trial(scenario=name) for name in names], is_over=lambda: False):
            swept = self.results[trial.scenario]
            swept.findings += verdict.findings
            swept.points, swept.distinct = len(verdict.passed), len(set(verdict.passed))
            found[trial.scenario] = list(self.choice.among(trial.scenario, deaths(verdict.passed)))
            swept.chosen = len(found[trial.scenario])
        return [trial for name in names for trial in found.get(name, ())]


class Progress:
    """Tell on stderr how far it is."""

    def __init__(self, *, total: int, every: object) -> None:
        self._total, self._every = total, every
        self._began = self._told_at = time.monotonic()

    def tell(self) -> None:
        now = time.monotonic()
        if now - self._told_at < PROGRESS_EVERY:
            return
        self._told_at = now
        results: list[Swept] = list(self._every)  # type: ignore[call-overload]
        runs, findings = sum(swept.runs for swept in results), sum(len(swept.findings) for swept in results)
        left = (now - self._began) / runs * (self._total - runs)
        sys.stderr.write(f"{runs} of {self._total} runs, {findings} findings, {left / 60:.0f} minutes to go\n")
        sys.stderr.flush()


def prepare_databases(size: int) -> None:
    """Make the tables once, and a copy of them for each member of a crew."""

    def migrate(_: int) -> None:
        call_command("migrate", verbosity=0, run_syncdb=True)
        connections.close_all()
        if connection.vendor == "postgresql":
            copy_databases(size)

    demand(in_child(migrate))


def copy_databases(size: int) -> None:
    import psycopg

    entry = own.DATABASES["default"]
    address = {"host": entry["HOST"], "port": entry["PORT"], "user": entry["USER"], "password": entry["PASSWORD"]}
    with psycopg.connect(dbname="postgres", autocommit=True, **address) as session:
        for number in range(size):
            session.execute(f"CREATE DATABASE {room(number)} TEMPLATE {entry['NAME']}")
