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
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.history.members import ROOT
from tests.history.own_services import own_services
from tests.history.path_history import LEFT, Consumers, Relays, Writers, torment
from tests.history.relay_history import make_topic
from tests.history.trips.events import TOPICS
from tests.history.trips.fates import HEALED
from tests.history.trips.judging import FINAL, Effect, Instance, Remembered, Step, Verdict, judge
from tests.history.trips.log import TABLES

START = 60.0  # seconds that starters may take to begin on a busy machine
STALLED = 45.0  # seconds without progress after which whatever is missing is lost
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
    pause: float  # seconds between two trips

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

    def have_started(self) -> bool:
        return self.count("SELECT count(*) FROM trip_started") == self.sagas

    def is_quiet(self) -> bool:
        return not (self.count(LEFT) or self.count(EXPECTED_SOON))

    def replay(self) -> None:
        """Let an operator replay every dead letter."""
        if self.count(DEAD):
            self.manage("replay_dead_letters", "--all", "--json")

    def verdict(self) -> Verdict:  # type: ignore[override]
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

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        self.seed += 1000
        command = [sys.executable, "-m", "tests.history.trips.starters", str(self.seed)]
        member = subprocess.Popen(command, env=self.path.environment(), cwd=ROOT)
        self.members.append(member)
        return member


@dataclass(kw_only=True)
class Report:
    """What a run came to."""

    seed: int
    is_clean: bool
    kills: dict[str, int]
    freezes: dict[str, int]
    sessions_ended: int
    seconds: float
    tormented: float  # seconds
    stuck: int  # sagas that had to wait for a replay
    dead: dict[str, int]  # letters, by handler and reason
    verdict: Verdict
    forgotten: list[str] = field(default_factory=list)  # sagas that were stuck without a dead letter


def run_history(
    *, url: str, broker: str, topic: str, sagas: int, seed: int, notes: Path, bug: str = "", pause: float = 0.2
) -> Report:
    """Start sagas under torment, let all settle, replay what is dead, and judge. Needs an empty database."""
    random.seed(seed)
    began = time.monotonic()
    trips = Trips(
        url=url, broker=broker, topic=topic, notes=notes, bug=bug, chaos={"CHAOS_MEAN": "10"}, sagas=sagas, seed=seed,
        pause=pause,
    )  # fmt: skip
    trips.prepare()
    relays, starters = Relays(path=trips), Starters(path=trips, seed=seed)
    crews = {"consumers": (trips, 3), "relays": (relays, 2), "starters": (starters, 2)}
    try:
        for members, count in crews.values():
            for _ in range(count):
                members.start()
        wait_for(lambda: trips.count("SELECT count(*) FROM trip_started") > 0, within=START)
        tormented_at = time.monotonic()
        ended = torment(trips, relays, starters, seconds=sagas * pause / 2, is_over=trips.have_started)
        tormented = time.monotonic() - tormented_at
        starters.finish()
        stuck, forgotten = settle(trips, relays)
    finally:
        for members, _ in crews.values():
            members.stop()
    verdict = trips.verdict()
    return Report(
        seed=seed,
        is_clean=verdict.is_clean and not forgotten,
        kills={name: members.kills for name, (members, _) in crews.items()},
        freezes={name: members.freezes for name, (members, _) in crews.items()},
        sessions_ended=ended,
        seconds=round(time.monotonic() - began, 1),
        tormented=round(tormented, 1),
        stuck=stuck,
        dead=dict(trips.execute(REASONS)),
        verdict=verdict,
        forgotten=forgotten,
    )


def settle(trips: Trips, relays: Relays) -> tuple[int, list[str]]:
    """Let calm processes finish; then mend what is doomed, and replay the dead until every saga has ended.

    Returns how many sagas had to wait for that, and the keys of those that no dead letter would have brought on.
    """
    trips.chaos.clear()
    for members, count in ((trips, 3), (relays, 2)):
        members.stop()
        for _ in range(count):
            members.start()
    wait_while_moving(trips, lambda still: trips.is_quiet() and still > QUIET)
    stuck = {key for (key,) in trips.execute(STUCK)}
    forgotten = sorted(stuck - {key for (key,) in trips.execute(DEAD_KEYS)})
    (trips.notes / HEALED).touch()
    trips.replay()
    wait_while_moving(trips, lambda still: still > 1 and is_settled(trips))
    return len(stuck), forgotten


def is_settled(trips: Trips) -> bool:
    if trips.is_quiet():
        trips.replay()  # what died of its attempts meanwhile
    return trips.is_quiet() and trips.verdict().is_clean


def wait_while_moving(trips: Trips, is_over: Callable[[float], bool]) -> None:
    """Return when it is over, given how long nothing has moved; or when nothing has moved for long."""
    done, moved_at = (-1,), time.monotonic()
    while (still := time.monotonic() - moved_at) < STALLED:
        now_done = trips.execute(DONE)[0]
        if now_done != done:
            done, moved_at = now_done, time.monotonic()
        elif is_over(still):
            return
        time.sleep(0.5)


def wait_for(condition: Callable[[], bool], *, within: float) -> None:
    ends_at = time.monotonic() + within
    while not condition():
        if time.monotonic() > ends_at:
            raise TimeoutError(f"no saga was started within {within} s")
        time.sleep(0.1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sagas", type=int, default=1000)
    parser.add_argument("--pause", type=float, default=0.2, help="Seconds between two starts of each of two processes.")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--bug", default="", help="Plant this one: see tests/history/trips/bugs.py.")
    options = parser.parse_args()
    os.chdir(ROOT)
    with own_services() as (url, broker), tempfile.TemporaryDirectory() as folder:
        report = run_history(
            url=url,
            broker=broker,
            topic=url.rpartition("/")[2].replace("_", "-"),
            sagas=options.sagas,
            seed=options.seed,
            notes=Path(folder),
            bug=options.bug,
            pause=options.pause,
        )
    sys.stdout.write(json.dumps(asdict(report), indent=1) + "\n")
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
