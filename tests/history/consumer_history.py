"""Three consumers are killed and frozen at random; then every effect is counted.

``python -m tests.history.consumer_history [SECONDS [SEED]]`` starts its own PostgreSQL and Kafka and prints what it
found: lost and repeated effects, and effects that did not see exactly their predecessor.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import psycopg

from tests.history.members import ROOT, Members
from tests.history.own_services import own_services
from tests.services import databases

HANDLERS = 2
FROZEN_FOR = 9.0  # longer than the session time-out
SESSION = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000, "auto.commit.interval.ms": 200}
TABLE = """
DROP TABLE IF EXISTS history_effect;
CREATE TABLE history_effect (id bigserial PRIMARY KEY, handler text, key text, number int, previous int, attempt int,
    owner text, at timestamptz DEFAULT clock_timestamp());
CREATE INDEX ON history_effect (handler, key, number);
"""


@dataclass(kw_only=True)
class Found:
    """What a run left behind."""

    expected: int
    effects: int = 0
    lost: int = 0
    repeated: int = 0
    inversions: int = 0  # effects that did not see exactly their predecessor
    retried: int = 0
    left_in_retry: int = 0
    dead_letters: int = 0
    kills: int = 0
    freezes: int = 0
    seconds: float = 0.0

    @property
    def is_sound(self) -> bool:
        return not (self.lost or self.repeated or self.inversions or self.left_in_retry or self.dead_letters)


@dataclass(kw_only=True)
class History(Members):
    """One database, one topic, some consumers."""

    command: ClassVar[str] = "consume_events"
    url: str  # of a migrated database
    broker: str
    topic: str
    chaos: dict[str, str] = field(default_factory=dict)
    consumer: dict[str, Any] = field(default_factory=dict)
    session: dict[str, Any] = field(default_factory=lambda: dict(SESSION))

    def environment(self) -> dict[str, str]:
        entry = databases.on_postgres(self.url)
        bus = {
            "TRANSPORT": "kafka",
            "SERVICE": "history",
            "DOMAIN": "history",
            "GROUP": f"group-{self.topic}",
            "OPTIONS": {"bootstrap.servers": self.broker},
            "CONSUMER_OPTIONS": self.session,
            "CONSUMER": {"GRACE": 2, "MAX_IN_FLIGHT": 100, "CONCURRENCY": 3, **self.consumer},
        }
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.history.settings",
            "EVENTBUS_TEST_DATABASES": json.dumps({"default": entry, "other": entry}),
            "EVENTBUS_TEST_SETTINGS": json.dumps({"default": bus}),
            "HISTORY_TOPIC": self.topic,
            "PYTHONPATH": str(ROOT),
            **self.chaos,
        }

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def count(self, statement: str) -> int:
        return int(self.execute(statement)[0][0])

    def manage(self, *arguments: str) -> None:
        calm = {name: value for name, value in self.environment().items() if not name.startswith("CHAOS")}
        subprocess.run([sys.executable, "-m", "django", *arguments], env=calm, cwd=ROOT, check=True, timeout=60)

    def prepare(self) -> None:
        self.manage("migrate", "--verbosity", "0")
        for statement in filter(str.strip, TABLE.split(";")):
            self.execute(statement)

    def create_topic(self, partitions: int) -> None:
        from confluent_kafka.admin import AdminClient
        from confluent_kafka.cimpl import NewTopic

        admin = AdminClient({"bootstrap.servers": self.broker})
        admin.create_topics([NewTopic(self.topic, partitions, 1)])[self.topic].result(30)

    def produce(self, *, keys: int, each: int, partitions: int = 0) -> None:
        """Send so many messages of each key; to a new topic where `partitions` are given."""
        from confluent_kafka.cimpl import Producer

        if partitions:
            self.create_topic(partitions)
        producer = Producer({"bootstrap.servers": self.broker, "enable.idempotence": True, "linger.ms": 5})
        for number in range(each):
            for key in range(keys):
                headers = {
                    "specversion": "1.0",
                    "id": str(uuid.uuid4()),
                    "type": "history.counted",
                    "source": "/history",
                }
                pairs: list[tuple[str, str | bytes | None]] = [(f"ce_{name}", text) for name, text in headers.items()]
                pairs.append(("content-type", "application/json"))
                value = json.dumps({"key": f"k{key}", "number": number})
                producer.produce(self.topic, value, f"k{key}", headers=pairs)
            producer.poll(0)
        assert producer.flush(60) == 0

    def look(self, found: Found) -> Found:
        """Count what is there now."""
        distinct = self.count("SELECT count(*) FROM (SELECT DISTINCT handler, key, number FROM history_effect) x")
        found.effects = self.count("SELECT count(*) FROM history_effect")
        found.repeated = found.effects - distinct
        found.lost = found.expected - distinct
        found.inversions = self.count("SELECT count(*) FROM history_effect WHERE previous <> number - 1")
        found.retried = self.count("SELECT count(*) FROM history_effect WHERE attempt > 1")
        found.left_in_retry = self.count("SELECT count(*) FROM eventbus_retry")
        found.dead_letters = self.count("SELECT count(*) FROM eventbus_dead_letter")
        return found

    def run(self, *, seconds: float, expected: int, members: int = 3, calm_after: float | None = None) -> Found:
        """Kill and freeze until everything is done, or the time is over; after `calm_after` members live."""
        found = Found(expected=expected)
        began = time.monotonic()
        next_harm = began + 3
        for _ in range(members):
            self.start()
        while time.monotonic() - began < seconds:
            time.sleep(0.1)
            now = time.monotonic()
            is_calm = calm_after is not None and now - began > calm_after
            if is_calm:
                self.chaos.clear()
            self.mend(patience=0.0 if is_calm else FROZEN_FOR)
            if now > next_harm and not is_calm:
                next_harm = now + 8
                self.harm()
            if not self.frozen and self._is_done(expected):
                break
        found.seconds = round(time.monotonic() - began, 1)
        found.kills, found.freezes = self.kills, self.freezes
        self.stop()
        return self.look(found)

    def _is_done(self, expected: int) -> bool:
        return self.count("SELECT count(*) FROM history_effect") >= expected and not self.count(
            "SELECT count(*) FROM eventbus_retry"
        )


def main(seconds: float, *, seed: int) -> int:
    with own_services() as (url, broker):
        topic = url.rpartition("/")[2].replace("_", "-")
        chaos = {"CHAOS_MEAN": os.environ.get("HISTORY_MEAN", "10")}
        history = History(url=url, broker=broker, topic=topic, chaos=chaos)
        history.draws = random.Random(seed)
        history.prepare()
        keys, each = 60, int(os.environ.get("HISTORY_EACH", "500"))
        history.produce(keys=keys, each=each, partitions=6)
        found = history.run(seconds=seconds, expected=keys * each * HANDLERS, calm_after=seconds * 0.8)
    sys.stdout.write(json.dumps({"seed": seed, **asdict(found)}) + "\n")
    return 0 if found.is_sound else 1


if __name__ == "__main__":
    given = dict(enumerate(sys.argv[1:]))
    sys.exit(main(float(given.get(0, 240)), seed=int(given.get(1, random.randrange(10**6)))))
