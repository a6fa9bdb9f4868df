"""Is every committed event handled exactly once by each handler, in order, while everything is killed and frozen?

Writers, relays and consumers are processes of their own, on real PostgreSQL and Kafka; all of them are killed and
frozen, members leave, and database sessions are ended, as the seed says. Run from the repository's root:
``python -m tests.history.path_history --events 1000000 --seed 1 --json report.json``. Exit status 1 where the judge
finds anything.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.history.members import ROOT, Members
from tests.history.own_services import own_services
from tests.history.path import notes
from tests.history.path.crews import IMPATIENT, Consumers, Counted, Relays, Writers
from tests.history.path.evidence import gather, read_topics
from tests.history.path.faults import FROZEN_FOR, LONGEST, Torment, schedule
from tests.history.path.judging import Verdict, judge
from tests.history.path.tables import ECHOES, STEPS
from tests.history.relay_history import GRACE

QUICK_START = 4.0  # seconds until the first commit on a machine that has nothing else to do
START = 120.0  # seconds that writers may take to begin on a busy machine
STALLED = 75.0  # seconds without progress after which whatever is missing is lost: longer than the longest freeze
TOLD_EVERY = 5.0  # seconds between two lines of progress
SIZES = {"consumers": 3, "relays": 2, "writers": 2}
PATIENCE = {"consumers": FROZEN_FOR, "relays": GRACE + 1.5, "writers": 1.0}  # with who froze himself


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long a run is, and how bad."""

    seed: int
    events: int | None = None  # committed ones
    minutes: float | None = None
    every: float = 2.0  # seconds between two faults; 0: there are none, and no handler fails
    longest: float = FROZEN_FOR  # seconds that somebody is frozen
    mean: float = 60.0  # seconds that a consumer lives until he harms himself at some point of the code
    most_waiting: int = 6000  # events; then the writers pause
    bug: str = ""

    def is_over(self, *, committed: int, seconds: float) -> bool:
        if self.events is not None and committed >= self.events:
            return True
        return self.minutes is not None and seconds >= 60 * self.minutes


@dataclass(kw_only=True)
class Report:
    """What a run came to."""

    seed: int
    is_clean: bool = False
    seconds: float = 0.0  # in all
    tormented: float = 0.0  # seconds in which events were published and everybody was harmed
    slowness: float = 1.0  # how much less often everybody was harmed than the plan says, on a busy machine
    rate: float = 0.0  # committed events a second, until all was handled
    faults: dict[str, int] = field(default_factory=dict)  # of the schedule
    struck: dict[str, int] = field(default_factory=dict)  # points of the code at which consumers harmed themselves
    kills: dict[str, int] = field(default_factory=dict)
    freezes: dict[str, int] = field(default_factory=dict)
    leaves: dict[str, int] = field(default_factory=dict)
    exits: dict[str, list[int]] = field(default_factory=dict)  # codes of who ended though nobody killed him
    tried: int = 0  # events that writers published, also those that were rolled back or killed
    judged: float = 0.0  # seconds that the judge took
    load: tuple[float, ...] = ()  # of the machine, in the end
    verdict: Verdict = field(default_factory=Verdict)


@dataclass(kw_only=True)
class Run:
    """One run on an empty database."""

    path: Consumers
    plan: Plan
    tell: Callable[[str], object] = lambda line: None
    report: Report = field(init=False)
    crews: dict[str, Members] = field(init=False)

    def __post_init__(self) -> None:
        seed = self.plan.seed
        self.report = Report(seed=seed)
        self.crews = {
            "consumers": self.path,
            "relays": Relays(path=self.path),
            "writers": Writers(path=self.path, seed=seed),
        }
        for name, crew in self.crews.items():
            crew.draws = random.Random(f"{name}/{seed}")
            crew.log = self.path.notes / f"log-{name}"

    def carry_out(self) -> Report:
        """Publish under torment, let everything settle, and judge."""
        began = time.monotonic()
        self.path.prepare()
        try:
            starting_from = time.monotonic()
            for name, crew in self.crews.items():
                for _ in range(SIZES[name]):
                    crew.start()
            self._wait_for_writers()
            published_from = time.monotonic()
            self._be_slow(published_from - starting_from)
            self._torment(published_from)
            self.report.tormented = round(time.monotonic() - published_from, 1)
            self._settle(published_from)
            elapsed = time.monotonic() - published_from
        finally:
            for crew in self.crews.values():
                crew.stop()
        self._judge()
        self._conclude(elapsed, seconds=time.monotonic() - began)
        return self.report

    def _wait_for_writers(self) -> None:
        """Return once something is committed: before, there is nothing to torment."""
        ends_at = time.monotonic() + START
        while not self.path.count("SELECT count(*) FROM path_published"):
            if time.monotonic() > ends_at:
                raise TimeoutError(f"no writer has committed anything within {START} s")
            time.sleep(0.1)

    def _be_slow(self, start: float) -> None:
        """Harm less often where processes take long to start: else none ever gets to work."""
        self.report.slowness = round(max(1.0, start / QUICK_START), 1)
        if self.plan.every:
            self.path.chaos = {"CHAOS_MEAN": str(self.plan.mean * self.report.slowness)}

    def _torment(self, began: float) -> None:
        """Harm everybody until enough is published."""
        torment = None
        if self.plan.every:
            every = self.plan.every * self.report.slowness
            faults = schedule(self.plan.seed, every=every, longest=self.plan.longest)
            torment = Torment(faults=faults, crews=self.crews, ask=self.path.execute)
        counted, count_at, tell_at = Counted(), 0.0, 0.0
        while not self.plan.is_over(committed=counted.committed, seconds=time.monotonic() - began):
            time.sleep(0.1)
            self._mend()
            if torment is not None:
                torment.go_on()
                self.report.faults = dict(sorted(torment.done.items()))
            now = time.monotonic()
            if now > count_at:
                count_at, counted = now + 1, self.path.counted()
                self._hold_back(counted)
            if now > tell_at:
                tell_at = now + TOLD_EVERY
                self._tell("torment", counted, now - began)

    def _hold_back(self, counted: Counted) -> None:
        """Let writers pause while too much waits: it would only be handled when nobody is harmed any more."""
        hold = self.path.notes / notes.HOLD
        if counted.waiting > self.plan.most_waiting:
            hold.touch()
        elif counted.waiting < self.plan.most_waiting / 2:
            hold.unlink(missing_ok=True)

    def _mend(self) -> None:
        for name, crew in self.crews.items():
            crew.mend(patience=PATIENCE[name])

    def _settle(self, began: float) -> None:
        """Harm nobody any more, and wait for as long as they get on."""
        (self.path.notes / notes.CALM).touch()
        writers = self.crews.pop("writers")
        assert isinstance(writers, Writers)
        writers.finish()
        for crew in self.crews.values():
            crew.thaw()
        handled, moved_at, tell_at = -1, time.monotonic(), 0.0
        while (now := time.monotonic()) - moved_at < STALLED:
            self._mend()
            counted = self.path.counted()
            if counted.effects + counted.dead != handled:
                handled, moved_at = counted.effects + counted.dead, now
            if now > tell_at:
                tell_at = now + TOLD_EVERY
                self._tell("settle", counted, now - began)
            if counted.waiting < counted.doubt and self.path.is_done():
                break
            time.sleep(0.3)
        self.crews["writers"] = writers

    def _judge(self) -> None:
        began = time.monotonic()
        topics = {STEPS: f"{self.path.topic}.steps", ECHOES: f"{self.path.topic}.echoes"}
        with psycopg.connect(self.path.url, autocommit=True) as session:
            records = read_topics(self.path.broker, topics)
            gather(session, folder=self.path.notes, records=records, is_calm=not self.plan.every)
            self.report.verdict = judge(session)
        self.report.judged = round(time.monotonic() - began, 1)

    def _conclude(self, elapsed: float, *, seconds: float) -> None:
        report, crews = self.report, self.crews
        report.seconds = round(seconds, 1)
        report.rate = round(report.verdict.committed / elapsed, 1)
        report.kills = {name: crew.kills for name, crew in crews.items()}
        report.freezes = {name: crew.freezes for name, crew in crews.items()}
        report.leaves = {name: crew.leaves for name, crew in crews.items() if crew.leaves}
        report.exits = {name: crew.exits for name, crew in crews.items() if crew.exits}
        report.struck = dict(Counter(notes.read(self.path.notes, "struck")))
        report.tried = sum(1 for _ in notes.read(self.path.notes, "published"))
        report.load = os.getloadavg()
        report.is_clean = report.verdict.is_clean
        if not self.plan.every:
            report.is_clean = report.is_clean and report.verdict.is_without_repeats

    def _tell(self, what: str, counted: Counted, seconds: float) -> None:
        faults = ", ".join(f"{count} {name}" for name, count in self.report.faults.items()) or "no faults"
        self.tell(
            f"{what} {seconds:6.0f} s: {counted.committed} committed ({counted.committed / max(1.0, seconds):.0f}/s), "
            f"{counted.handled} handled, {counted.waiting} waiting; {faults}"
        )


def run_history(
    *, url: str, broker: str, topic: str, folder: Path, plan: Plan, tell: Callable[[str], object] = lambda line: None
) -> Report:
    """Carry out a plan on an empty database; `folder` takes the files of attempts."""
    is_calm = not plan.every
    path = Consumers(
        url=url,
        broker=broker,
        topic=topic,
        notes=folder,
        bug=plan.bug,
        chaos={} if is_calm else {"CHAOS_MEAN": str(plan.mean)},
        consumer={"MAX_IN_FLIGHT": 150, "CONCURRENCY": 2},
        outbox={} if is_calm else {**IMPATIENT, "BATCH_SIZE": 300},
        variables={"HISTORY_CALM": "1"} if is_calm else {},
    )
    return Run(path=path, plan=plan, tell=tell).carry_out()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, help="End when so many are committed (else 60000).")
    parser.add_argument("--minutes", type=float, help="End after so long.")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--every", type=float, default=2.0, help="Seconds between two faults; 0: none.")
    parser.add_argument("--longest", type=float, default=LONGEST, help="Seconds that somebody is frozen at most.")
    parser.add_argument("--bug", default="", help="Plant this one: see tests/history/path/bugs.py.")
    parser.add_argument("--json", type=Path, help="Write the report there too.")
    parser.add_argument("--notes", type=Path, help="Keep the files of attempts and what processes printed there.")
    options = parser.parse_args()
    os.chdir(ROOT)
    plan = Plan(
        seed=options.seed,
        events=options.events or (None if options.minutes else 60_000),
        minutes=options.minutes,
        every=options.every,
        longest=options.longest,
        bug=options.bug,
        most_waiting=20_000,
    )
    with own_services() as (url, broker), tempfile.TemporaryDirectory() as scratch:
        folder = options.notes or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        topic = url.rpartition("/")[2].replace("_", "-")
        report = run_history(url=url, broker=broker, topic=topic, folder=folder, plan=plan, tell=_print)
    told = json.dumps(asdict(report), indent=1)
    sys.stdout.write(told + "\n")
    if options.json:
        options.json.write_text(told + "\n")
    return 0 if report.is_clean else 1


def _print(line: str) -> Any:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
