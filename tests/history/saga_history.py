"""Does every saga end, each step once and each timeout when it is due, while everything is killed and frozen?

Starters, relays and consumers are processes of their own, on real PostgreSQL and Kafka. Services refuse, forget and
answer late; steps fail; what is doomed becomes a dead letter, and is replayed in the end. Run from the repository's
root: ``python -m tests.history.saga_history --sagas 1000 --seed 1``. Exit status 1 where the judge finds anything.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

from tests.history.members import ROOT, Members
from tests.history.own_services import own_services
from tests.history.path.crews import Consumers, Relays, Writers
from tests.history.path.faults import FROZEN_FOR, Torment, schedule
from tests.history.path.notes import CALM
from tests.history.path.tables import LEFT
from tests.history.relay_history import GRACE, make_topic
from tests.history.trips.events import TOPICS
from tests.history.trips.fates import HEALED
from tests.history.trips.judging import FINAL, Effect, Instance, Remembered, Step, Verdict, judge
from tests.history.trips.log import TABLES

START = 90.0  # seconds that all processes may take to begin on a busy machine
OFTEN = 12  # harms from outside for each that consumers do to themselves
LEAST = 8.0  # seconds of torment
STALLED = 45.0  # seconds without progress after which whatever is missing is lost
SIZES = {"consumers": 3, "relays": 2, "writers": 2}
PATIENCE = {"consumers": FROZEN_FOR, "relays": GRACE + 1.5, "writers": 1.0}  # with who froze himself
QUIET = 4.0  # seconds without progress after which nothing is expected before the dead are replayed
DONE = """
SELECT (SELECT count(*) FROM trip_step), (SELECT count(*) FROM trip_effect), (SELECT count(*) FROM eventbus_dead_letter)
"""
EXPECTED_SOON = "SELECT count(*) FROM eventbus_scheduled WHERE due_at < now() + interval '1 minute'"
DEAD = "SELECT count(*) FROM eventbus_dead_letter WHERE status = 'dead'"
REASONS = "SELECT handler || ' ' || reason, count(*) FROM eventbus_dead_letter GROUP BY 1 ORDER BY 1"
STUCK = f"SELECT key FROM eventbus_saga_state WHERE status NOT IN {FINAL} ORDER BY key"
DEAD_KEYS = "SELECT convert_from(key, 'UTF8') FROM eventbus_dead_letter WHERE status = 'dead'"
HISTORY = """
SELECT s.key, h.version, h.message_id, h.status, (h.state::json->>'steps')::int, json_array_length(h.outgoing::json),
    coalesce(h.timeouts::json->'set', '{}')
FROM eventbus_saga_history h JOIN eventbus_saga_state s ON s.id = h.instance_id ORDER BY s.key, h.version
"""
INSTANCES = "SELECT key, version, status, (state::json->>'steps')::int, timeouts FROM eventbus_saga_state"
STEPS = "SELECT trip, number, what, message_id, status, asked, undone, armed, now FROM trip_step ORDER BY id"
EFFECTS = "SELECT trip, part || '/' || number, kind, message_id FROM trip_effect ORDER BY id"
WAITING = (
    ("outbox", "SELECT count(*) FROM eventbus_outbox"),
    ("parked", "SELECT count(*) FROM eventbus_outbox_parked"),
    ("retry", "SELECT count(*) FROM eventbus_retry"),
    ("scheduled", "SELECT count(*) FROM eventbus_scheduled"),
    ("dead letters", "SELECT count(*) FROM eventbus_dead_letter WHERE status <> 'replayed'"),
)


@dataclass(kw_only=True)
class Trips(Consumers):
    """The database, the topics, and the consumers, which take the steps of the sagas."""

    sagas: int
    seed: int
    pause: float = 0.2  # seconds between two trips of each of two processes
    every: float = 10.0  # seconds until a consumer harms himself; from outside twelve times as often

    def environment(self) -> dict[str, str]:
        return super().environment() | {
            "DJANGO_SETTINGS_MODULE": "tests.history.trips.settings",
            "HISTORY_SAGAS": str(self.sagas),
            "HISTORY_SEED": str(self.seed),
            "HISTORY_PAUSE": str(self.pause),
        }

    def prepare(self) -> None:
        self.manage("migrate", "--verbosity", "0")
        self.execute(TABLES)
        for name in TOPICS:
            make_topic(self.broker, f"{self.topic}.{name}")

    def be_slow(self, start: float) -> None:
        """Harm less often where processes take so long to start: else none ever gets to work."""
        self.every = max(self.every, start)
        self.chaos["CHAOS_MEAN"] = str(self.every)

    def have_started(self) -> bool:
        return self.count("SELECT count(*) FROM trip_started") == self.sagas

    def is_quiet(self) -> bool:
        return not (self.count(LEFT) or self.count(EXPECTED_SOON))

    def replay(self) -> None:
        """Let an operator replay every dead letter."""
        if self.count(DEAD):
            command = [sys.executable, "-m", "django", "replay_dead_letters", "--all"]
            subprocess.run(command, env=self.environment(), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    def verdict(self) -> Verdict:
        steps = [Step._make((*row[:5], *map(json.loads, row[5:8]), row[8])) for row in self.execute(STEPS)]
        verdict = judge(
            [trip for (trip,) in self.execute("SELECT trip FROM trip_started")],
            steps,
            [Effect._make(row) for row in self.execute(EFFECTS)],
            instances={
                key: Instance._make((*row, len(json.loads(armed)))) for key, *row, armed in self.execute(INSTANCES)
            },
            history=[Remembered._make((*row, frozenset(armed))) for *row, armed in self.execute(HISTORY)],
        )
        verdict.left += [f"{count} {name}" for name, query in WAITING if (count := self.count(query))]
        return verdict


@dataclass(kw_only=True)
class Starters(Writers):
    """Two processes that start trips."""

    command: ClassVar[str] = "tests.history.trips.starters"


@dataclass(kw_only=True)
class Report:
    """What a run came to."""

    seed: int
    is_clean: bool
    kills: dict[str, int]
    freezes: dict[str, int]
    faults: dict[str, int]
    seconds: float
    tormented: float  # seconds
    stuck: int  # sagas that had to wait for a replay
    dead: dict[str, int]  # letters, by handler and reason
    verdict: Verdict
    forgotten: list[str] = field(default_factory=list)  # sagas that were stuck without a dead letter


def run_history(trips: Trips) -> Report:
    """Start sagas under torment, let all settle, replay what is dead, and judge. Needs an empty database."""
    trips.prepare()
    began = time.monotonic()
    starters = Starters(path=trips, seed=trips.seed)
    crews: dict[str, Members] = {"consumers": trips, "relays": Relays(path=trips), "writers": starters}
    try:
        for name, members in crews.items():
            members.draws = random.Random(f"{name}/{trips.seed}")
            for _ in range(SIZES[name]):
                members.start()
        wait_for(lambda: trips.count("SELECT count(*) FROM trip_effect") > 0, within=START)
        tormented_at = time.monotonic()
        trips.be_slow(tormented_at - began)
        faults = torment(trips, crews)
        tormented = time.monotonic() - tormented_at
        starters.finish()
        del crews["writers"]
        stuck, forgotten = settle(trips, crews)
    finally:
        for members in [*crews.values(), starters]:
            members.stop()
    crews["writers"] = starters
    verdict = trips.verdict()
    return Report(
        seed=trips.seed,
        is_clean=verdict.is_clean and not forgotten,
        kills={name: members.kills for name, members in crews.items()},
        freezes={name: members.freezes for name, members in crews.items()},
        faults=faults,
        seconds=round(time.monotonic() - began, 1),
        tormented=round(tormented, 1),
        stuck=stuck,
        dead=dict(trips.execute(REASONS)),
        verdict=verdict,
        forgotten=forgotten,
    )


def torment(trips: Trips, crews: Mapping[str, Members]) -> dict[str, int]:
    """Kill, freeze and cut off until all sagas have started; return how often which fault was done."""
    faults = schedule(trips.seed, every=trips.every / OFTEN, longest=FROZEN_FOR)
    harm = Torment(faults=faults, crews=crews, ask=trips.execute)
    ends_at = time.monotonic() + LEAST
    while time.monotonic() < ends_at or not trips.have_started():
        time.sleep(0.1)
        mend(crews)
        harm.go_on()
    return dict(sorted(harm.done.items()))


def mend(crews: Mapping[str, Members]) -> None:
    for name, members in crews.items():
        members.mend(patience=PATIENCE[name])


def settle(trips: Trips, crews: Mapping[str, Members]) -> tuple[int, list[str]]:
    """Harm nobody any more, and wait; then mend what is doomed, and replay the dead until every saga has ended.

    Returns how many sagas had to wait for that, and the keys of those that no dead letter would have brought on.
    """
    if trips.verdict().is_beyond_repair:
        return 0, []
    (trips.notes / CALM).touch()
    for members in crews.values():
        members.thaw()
    wait_while_moving(trips, crews, lambda still: trips.is_quiet() and still > QUIET)
    stuck = {key for (key,) in trips.execute(STUCK)}
    forgotten = sorted(stuck - {key for (key,) in trips.execute(DEAD_KEYS)})
    (trips.notes / HEALED).touch()
    trips.replay()
    wait_while_moving(trips, crews, lambda still: still > 1 and is_settled(trips))
    return len(stuck), forgotten


def is_settled(trips: Trips) -> bool:
    if trips.is_quiet():
        trips.replay()  # what died of its attempts meanwhile
    verdict = trips.verdict()
    return verdict.is_beyond_repair or (trips.is_quiet() and verdict.is_clean)


def wait_while_moving(trips: Trips, crews: Mapping[str, Members], is_over: Callable[[float], bool]) -> None:
    """Return when it is over, given how long nothing has moved; or when nothing has moved for long."""
    done, moved_at = (-1,), time.monotonic()
    while (still := time.monotonic() - moved_at) < STALLED:
        now_done = trips.execute(DONE)[0]
        if now_done != done:
            done, moved_at = now_done, time.monotonic()
        elif is_over(still):
            return
        mend(crews)
        time.sleep(0.5)


def wait_for(condition: Callable[[], bool], *, within: float) -> None:
    ends_at = time.monotonic() + within
    while not condition():
        if time.monotonic() > ends_at:
            raise TimeoutError(f"no saga got anywhere within {within} s")
        time.sleep(0.1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sagas", type=int, default=1000)
    parser.add_argument("--pause", type=float, default=0.2, help="Seconds between two starts of each of two processes.")
    parser.add_argument("--every", type=float, default=10, help="Seconds between two harms; more on a busy machine.")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--bug", default="", help="Plant this one: see tests/history/trips/bugs.py.")
    options = parser.parse_args()
    os.chdir(ROOT)
    with own_services() as (url, broker), tempfile.TemporaryDirectory() as folder:
        trips = Trips(
            url=url,
            broker=broker,
            topic=url.rpartition("/")[2].replace("_", "-"),
            notes=Path(folder),
            bug=options.bug,
            sagas=options.sagas,
            seed=options.seed,
            pause=options.pause,
            every=options.every,
        )
        report = run_history(trips)
    sys.stdout.write(json.dumps(asdict(report), indent=1) + "\n")
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
