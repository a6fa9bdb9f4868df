"""How does a steady load start, go on, and end?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.history.members import ROOT
from tests.proof.load.crews import Crew, Keeper
from tests.proof.load.database import LoadDatabase
from tests.proof.load.judging import Verdict, judge
from tests.proof.load.sampling import EVERY, Sampler
from tests.services import databases

GRACE = 10.0  # seconds, of relays and of consumers
SESSION = 6.0  # seconds after which the broker gives up a silent consumer
PARTITIONS = 6
WARM = 0.8  # share of the asked rate from which on a load counts as running
START = 90.0  # seconds that it may take to get there on a busy machine
STALLED = 60.0  # seconds without progress after which whatever is missing is lost
LOOK = 0.25
MANAGE = (sys.executable, "-m", "django")


@dataclass(kw_only=True)
class Load:
    """Writers at a given rate, relays and consumers as the real commands, on one database and one broker."""

    url: str
    broker: str
    topic: str
    folder: Path  # for what its processes print
    rate: float
    seed: int
    extra: dict[str, dict[str, str]] = field(default_factory=dict)  # environment of one crew, by its name
    leaks: tuple[str, ...] = ()  # names in leaks.py
    every: float = EVERY  # seconds between two counts
    relays: Crew = field(init=False)
    consumers: Crew = field(init=False)
    writers: Crew = field(init=False)
    keeper: Keeper = field(init=False)
    sampler: Sampler = field(init=False)

    def __post_init__(self) -> None:
        self.database = LoadDatabase(url=self.url)
        self.sampler = Sampler(
            database=self.database, broker=self.broker, topic=self.topic, partitions=PARTITIONS, every=self.every
        )
        writing = [sys.executable, "-m", "tests.proof.load.writers", str(self.rate), str(self.seed)]
        self.relays = self._crew("relay", [*MANAGE, "drain_outbox"], count=2)
        self.consumers = self._crew("consumer", [*MANAGE, "consume_events"], count=2)
        self.writers = self._crew("writer", writing, count=1)
        self.keeper = Keeper(*self.crews)

    @property
    def crews(self) -> tuple[Crew, ...]:
        return self.relays, self.consumers, self.writers

    def environment(self) -> dict[str, str]:
        entry = databases.on_postgres(self.url)
        bus: dict[str, Any] = {
            "TRANSPORT": "kafka",
            "SERVICE": "load",
            "DOMAIN": "load",
            "GROUP": self.group,
            "OPTIONS": {"bootstrap.servers": self.broker},
            "CONSUMER_OPTIONS": {"session.timeout.ms": int(SESSION * 1000), "heartbeat.interval.ms": 1000},
            "OUTBOX": {"GRACE": GRACE, "SEND_DEADLINE": 4.0},
            "CONSUMER": {"GRACE": GRACE},
        }
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.proof.load.settings",
            "EVENTBUS_TEST_DATABASES": json.dumps({"default": entry, "other": entry}),
            "EVENTBUS_TEST_SETTINGS": json.dumps({"default": bus}),
            "LOAD_TOPIC": self.topic,
            "LOAD_LEAK": " ".join(self.leaks),
            "PYTHONPATH": str(ROOT),
        }

    @property
    def group(self) -> str:
        return f"group-{self.topic}"

    def prepare(self) -> None:
        """Make tables and topic, in an empty database."""
        command = [*MANAGE, "migrate", "--verbosity", "0"]
        subprocess.run(command, env=self.environment(), cwd=ROOT, check=True, timeout=120)
        self.database.make_tables()
        make_topic(self.broker, self.topic)

    def start(self, *, share: float = WARM) -> None:
        """Start everything; return when events come through at this share of the asked rate."""
        for crew in self.crews:
            crew.start()
        self.keeper.start()
        self.sampler.start()
        self.wait(lambda: self._is_warm(share), patience=START, what=f"{self.rate * share:.0f} events a second")

    def wait(self, is_so: Callable[[], bool], *, patience: float, what: str) -> None:
        ends_at = time.monotonic() + patience
        while not is_so():
            if time.monotonic() > ends_at:
                raise TimeoutError(f"{what} not reached within {patience:.0f} s; see {self.folder}")
            time.sleep(LOOK)

    def finish(self) -> list[str]:
        """End the writers, let everything settle, end the others; return who did not end as asked."""
        self.keeper.let_go(self.writers)
        failed = self.writers.end()
        self._settle()
        self.keeper.stop()
        failed += self.relays.end() + self.consumers.end()
        return failed

    def verdict(self) -> Verdict:
        """Judge a load that has finished."""
        self.sampler.stop()
        return judge(self.database.count, sent=self.sampler.sent.counts[-1] if self.sampler.sent.counts else 0)

    def stop(self) -> None:
        """End all that still runs, at once."""
        self.keeper.stop()
        self.sampler.stop()
        for crew in self.crews:
            crew.kill_all()

    def _is_warm(self, share: float) -> bool:
        now = time.monotonic() - LOOK
        waiting = self.sampler.committed.at(now) - self.sampler.handled.at(now)
        is_fast = min(series.rate(now - 3, now) for series in self._places) >= share * self.rate
        return is_fast and waiting * share <= self.rate

    @property
    def _places(self) -> tuple[Any, ...]:
        return self.sampler.committed, self.sampler.sent, self.sampler.handled

    def _settle(self) -> None:
        left = "SELECT (SELECT count(*) FROM eventbus_outbox) + (SELECT count(*) FROM eventbus_outbox_parked)"
        left += " + (SELECT count(*) FROM eventbus_retry)"
        done, moved_at = -1, time.monotonic()
        while time.monotonic() - moved_at < STALLED:
            now_done = self.database.count("SELECT count(*) FROM load_effect")
            if now_done != done:
                done, moved_at = now_done, time.monotonic()
            missing = self.database.count("SELECT count(*) FROM load_published") - done
            if missing <= 0 and not self.database.count(left) and time.monotonic() - moved_at > 1:
                return
            time.sleep(LOOK)

    def _crew(self, name: str, command: list[str], *, count: int) -> Crew:
        environment = self.environment() | self.extra.get(name, {})
        return Crew(name=name, command=command, count=count, environment=environment, logs=self.folder)


def make_topic(broker: str, name: str) -> None:
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(30)
