"""Is every committed event handled exactly once by each handler, in order, while everything is killed and frozen?

Writers, relays and consumers are processes of their own, on real PostgreSQL and Kafka; all of them are killed and
frozen at random, and database sessions ended. Run from the repository's root:
``python -m tests.history.path_history --seconds 120 --seed 1``. Exit status 1 where the judge finds anything.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

from tests.history.consumer_history import FROZEN_FOR, History
from tests.history.members import ROOT, Members
from tests.history.own_services import own_services
from tests.history.path import notes
from tests.history.path.events import ECHO_EVERY
from tests.history.path.judging import Dead, Effect, Step, Verdict, judge
from tests.history.path.writers import KEYS
from tests.history.relay_history import GRACE, TRANSPORT, make_topic

TABLES = f"""
CREATE TABLE path_counter (key text PRIMARY KEY, value integer NOT NULL);
INSERT INTO path_counter SELECT 'k' || g, 0 FROM generate_series(0, {KEYS - 1}) AS g;
CREATE TABLE path_published (event_id text PRIMARY KEY, key text, number int);
CREATE TABLE path_effect (id bigserial PRIMARY KEY, handler text, event_id text, key text, number int, previous int,
    attempt int, owner text, at timestamptz DEFAULT clock_timestamp());
CREATE INDEX ON path_effect (handler, key, number)
"""
END_A_SESSION = """
SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1) AS victim
"""
LEFT = """
SELECT (SELECT count(*) FROM eventbus_outbox) + (SELECT count(*) FROM eventbus_outbox_parked)
    + (SELECT count(*) FROM eventbus_retry)
"""
DONE = "SELECT (SELECT count(*) FROM path_effect) + (SELECT count(*) FROM eventbus_dead_letter)"
EXPECTED = f"""
SELECT 2 * (SELECT count(*) FROM path_published)
    + (SELECT count(*) FROM path_effect WHERE handler = 'path.ordered' AND number % {ECHO_EVERY} = 0)
"""
PUBLISHED = "SELECT count(*) FROM path_published"
START = 60.0  # seconds that writers may take to begin on a busy machine
STALLED = 40.0  # seconds without progress after which whatever is missing is lost


@dataclass(kw_only=True)
class Consumers(History):
    """The database, the topics, and three consumers."""

    notes: Path
    bug: str = ""

    def environment(self) -> dict[str, str]:
        environment = super().environment()
        bus = json.loads(environment["EVENTBUS_TEST_SETTINGS"])["default"]
        bus["OUTBOX"] = {"GRACE": GRACE, "SEND_DEADLINE": 1.0, "BATCH_SIZE": 50}
        bus["TRANSPORT"] = TRANSPORT
        return environment | {
            "DJANGO_SETTINGS_MODULE": "tests.history.path.settings",
            "EVENTBUS_TEST_SETTINGS": json.dumps({"default": bus}),
            "HISTORY_NOTES": str(self.notes),
            "HISTORY_BUG": self.bug,
        }

    def prepare(self) -> None:
        self.manage("migrate", "--verbosity", "0")
        self.execute(TABLES)
        for name in ("steps", "echoes"):
            make_topic(self.broker, f"{self.topic}.{name}")

    def verdict(self) -> Verdict:
        published = self.execute("SELECT event_id, key, number FROM path_published")
        rows = self.execute("SELECT handler, event_id, key, number, previous FROM path_effect ORDER BY id")
        effects = [Effect(name, event_id, Step(key, number), before) for name, event_id, key, number, before in rows]
        dead = self.execute("SELECT handler, message_id, reason FROM eventbus_dead_letter")
        verdict = judge(
            {event_id: Step(key, number) for event_id, key, number in published},
            effects,
            {Dead(*row) for row in dead},
            tried=notes.read(self.notes, "handled"),
        )
        verdict.published = notes.read(self.notes, "published").total()
        return verdict


@dataclass(kw_only=True)
class Relays(Members):
    """Two relays of one bus."""

    command: ClassVar[str] = "drain_outbox"
    path: Consumers

    def environment(self) -> dict[str, str]:
        return self.path.environment()


@dataclass(kw_only=True)
class Writers(Members):
    """Processes that publish; each new one makes other choices."""

    path: Consumers
    seed: int

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        self.seed += 1000
        command = [sys.executable, "-m", "tests.history.path.writers", str(self.seed)]
        member = subprocess.Popen(command, env=self.path.environment(), cwd=ROOT)
        self.members.append(member)
        return member

    def finish(self) -> None:
        """Let them end by themselves; who does not, is killed."""
        for member in self.members:
            member.send_signal(signal.SIGCONT)
            member.terminate()
        ends_at = time.monotonic() + 10
        while time.monotonic() < ends_at and any(member.poll() is None for member in self.members):
            time.sleep(0.1)
        for member in self.members:
            member.send_signal(signal.SIGUSR1)
        self.stop()


@dataclass(kw_only=True)
class Torment:
    """Do something about every so many seconds."""

    every: float
    harm: Callable[[], object]
    due_at: float = field(default_factory=time.monotonic)

    def go_on(self) -> None:
        if time.monotonic() > self.due_at:
            self.due_at = time.monotonic() + random.uniform(0.5, 1.5) * self.every
            self.harm()


@dataclass(kw_only=True)
class Report:
    """What a run came to."""

    seed: int
    is_clean: bool
    kills: dict[str, int]
    freezes: dict[str, int]
    sessions_ended: int
    seconds: float
    verdict: Verdict


def run_history(
    *, url: str, broker: str, topic: str, seconds: float, seed: int, notes: Path, bug: str = "", mean: float = 10
) -> Report:
    """Publish under torment for some seconds, let everything settle, and judge. Needs an empty database."""
    random.seed(seed)
    began = time.monotonic()
    path = Consumers(url=url, broker=broker, topic=topic, notes=notes, bug=bug, chaos={"CHAOS_MEAN": str(mean)})
    path.prepare()
    relays, writers = Relays(path=path), Writers(path=path, seed=seed)
    crews = {"consumers": (path, 3, FROZEN_FOR), "relays": (relays, 2, GRACE + 1.5), "writers": (writers, 2, 1.0)}
    try:
        for members, count, _ in crews.values():
            for _ in range(count):
                members.start()
        wait_for_writers(path)
        ended = torment(path, relays, writers, seconds=seconds)
        writers.finish()
        settle(path, relays)
    finally:
        for members, _, _ in crews.values():
            members.stop()
    verdict = path.verdict()
    return Report(
        seed=seed,
        is_clean=verdict.is_clean,
        kills={name: members.kills for name, (members, _, _) in crews.items()},
        freezes={name: members.freezes for name, (members, _, _) in crews.items()},
        sessions_ended=ended,
        seconds=round(time.monotonic() - began, 1),
        verdict=verdict,
    )


def wait_for_writers(path: Consumers) -> None:
    """Return once something is committed: before, there is nothing to torment."""
    ends_at = time.monotonic() + START
    while not path.count(PUBLISHED):
        if time.monotonic() > ends_at:
            raise TimeoutError(f"no writer has committed anything within {START} s")
        time.sleep(0.1)


def torment(path: Consumers, relays: Relays, writers: Writers, *, seconds: float) -> int:
    """Kill, freeze and cut off for some seconds; return how many database sessions were ended."""
    ended = 0

    def end_a_session() -> None:
        nonlocal ended
        ended += path.count(END_A_SESSION)

    quiet_until = time.monotonic() + 4  # until they have started
    torments = [
        Torment(every=8, harm=path.harm, due_at=quiet_until),
        Torment(every=3, harm=relays.harm, due_at=quiet_until),
        Torment(every=7, harm=writers.harm, due_at=quiet_until),
        Torment(every=2, harm=end_a_session, due_at=quiet_until),
    ]
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        time.sleep(0.1)
        path.mend(patience=FROZEN_FOR)
        relays.mend(patience=random.choice([0.2, GRACE + 1.5]))
        writers.mend(patience=1.0)
        for each in torments:
            each.go_on()
    return ended


def settle(path: Consumers, relays: Relays) -> None:
    """Give calm processes time to finish, for as long as they get on."""
    path.chaos.clear()
    for members, count in ((path, 3), (relays, 2)):
        members.stop()
        for _ in range(count):
            members.start()
    done, moved_at = -1, time.monotonic()
    while time.monotonic() - moved_at < STALLED:
        now_done = path.count(DONE)
        if now_done != done:
            done, moved_at = now_done, time.monotonic()
        elif done >= path.count(EXPECTED) and not path.count(LEFT) and time.monotonic() - moved_at > 2:
            return
        time.sleep(0.25)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--bug", default="", help="Plant this one: see tests/history/path/bugs.py.")
    options = parser.parse_args()
    os.chdir(ROOT)
    with own_services() as (url, broker), tempfile.TemporaryDirectory() as folder:
        report = run_history(
            url=url,
            broker=broker,
            topic=url.rpartition("/")[2].replace("_", "-"),
            seconds=options.seconds,
            seed=options.seed,
            notes=Path(folder),
            bug=options.bug,
        )
    sys.stdout.write(json.dumps(asdict(report), indent=1) + "\n")
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
