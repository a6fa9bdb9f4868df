"""Do relays lose, invent or reorder anything while they are killed and frozen at random?

Writers lock a row per key before they publish, roll back some of their work and stay open now and then; relays of one
bus are killed, frozen and started again; everything goes through real PostgreSQL and real Kafka. Run from the
repository's root: ``python -m tests.history.relay_history --seconds 60``. Exit status 1 where a row is lost, invented
or late.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parent.parent.parent
KEYS = 12
GRACE = 2.0
PARTITIONS = 3
TRANSPORT = "tests.history.slow_kafka.SlowKafkaTransport"

TABLES = "CREATE TABLE history_counter (key text PRIMARY KEY, value integer NOT NULL)"
FILL = "INSERT INTO history_counter SELECT 'key' || g, 0 FROM generate_series(0, %s) AS g"
NEXT = "UPDATE history_counter SET value = value + 1 WHERE key = %s RETURNING value"
APPEND = """
INSERT INTO eventbus_outbox (event_id, bus, shard, topic, key, headers, payload, event_name)
VALUES (gen_random_uuid(), %s, %s, %s, %s, '', %s, 'history')
"""


@dataclass(kw_only=True)
class Verdict:
    """What the log of the broker says, held against what was committed."""

    committed: int
    records: int
    repeated: int = 0  # allowed: at least once
    lost: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)  # behind a successor of its key, at its first appearance
    kills: int = 0
    freezes: int = 0

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.invented or self.late)


class Writer:
    """Commit numbered messages of a few keys, each key's in the order of a row lock, as one process of a shop would."""

    def __init__(self, dsn: str, *, bus: int, topic: str, shards: dict[str, int], seed: int) -> None:
        self._dsn, self._bus, self._topic, self._shards = dsn, bus, topic, shards
        self._random = random.Random(seed)

    def run(self, stop: threading.Event) -> None:
        with psycopg.connect(self._dsn) as session:
            while not stop.is_set():
                keys = sorted(self._random.sample(list(self._shards), self._random.choice([1, 1, 2])))
                for key in keys:
                    self._append(session, key)
                if self._random.random() < 0.1:
                    session.execute("SAVEPOINT later")
                    self._append(session, keys[-1])
                    session.execute("ROLLBACK TO later")
                if self._random.random() < 0.02:
                    stop.wait(0.5)  # an open writer: ids above its own commit before it
                if self._random.random() < 0.1:
                    session.rollback()
                else:
                    session.commit()

    def _append(self, session: psycopg.Connection[Any], key: str) -> None:
        row = session.execute(NEXT, [key]).fetchone()
        assert row is not None
        values = [self._bus, self._shards[key], self._topic, key.encode(), str(row[0]).encode()]
        session.execute(APPEND, values)


class Relays:
    """Keep two relays running, and treat them badly."""

    def __init__(self, environment: dict[str, str], *, seed: int) -> None:
        self._environment = environment
        self._random = random.Random(seed)
        self._running: list[subprocess.Popen[bytes]] = []
        self.kills = self.freezes = 0

    def start(self) -> None:
        command = [sys.executable, "-m", "django", "drain_outbox", "--relays", "1"]
        self._running.append(
            subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )

    def torment(self, *, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            time.sleep(self._random.uniform(0.3, 1.5))
            victim = self._random.choice(self._running)
            if self._random.random() < 0.5:
                self.kills += 1
                victim.kill()
                victim.wait()
                self._running.remove(victim)
                self.start()
            else:
                self.freezes += 1
                victim.send_signal(signal.SIGSTOP)
                time.sleep(self._random.choice([0.2, GRACE + 1.5]))
                victim.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        for process in self._running:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self._running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def run_history(
    *, dsn: str, database: dict[str, Any], brokers: str, seconds: float, writers: int, seed: int
) -> Verdict:
    """Write under torment for some seconds, let what is left be sent, and judge the log. Needs migrated tables."""
    topic = f"history.{uuid.uuid4().hex}"
    make_topic(brokers, topic)
    environment = settings_of(database, brokers)
    bus, shards = prepare(dsn, environment)
    stop = threading.Event()
    threads = [
        threading.Thread(target=Writer(dsn, bus=bus, topic=topic, shards=shards, seed=seed + number).run, args=[stop])
        for number in range(writers)
    ]
    with tormented(environment, seed=seed) as relays:
        for thread in threads:
            thread.start()
        relays.torment(seconds=seconds)
        stop.set()
        for thread in threads:
            thread.join()
        wait_until_empty(dsn)
    verdict = judge(committed(dsn), read_log(brokers, topic))
    verdict.kills, verdict.freezes = relays.kills, relays.freezes
    return verdict


@contextmanager
def tormented(environment: dict[str, str], *, seed: int) -> Iterator[Relays]:
    relays = Relays(environment, seed=seed)
    relays.start()
    relays.start()
    try:
        yield relays
    finally:
        relays.stop()


def settings_of(database: dict[str, Any], brokers: str) -> dict[str, str]:
    outbox = {"GRACE": GRACE, "SEND_DEADLINE": 1.0, "BATCH_SIZE": 50}
    bus = {"TRANSPORT": TRANSPORT, "SERVICE": "history", "OPTIONS": {"bootstrap.servers": brokers}, "OUTBOX": outbox}
    ours = {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "EVENTBUS_TEST_DATABASES": json.dumps({"default": database}),
        "EVENTBUS_TEST_SETTINGS": json.dumps({"default": bus}),
        "PYTHONPATH": str(ROOT),
    }
    return os.environ | ours


def prepare(dsn: str, environment: dict[str, str]) -> tuple[int, dict[str, int]]:
    code = (
        "import django, json; django.setup()\n"
        "from django_eventbus.events.keys import shard_of\n"
        "from django_eventbus.models import ControlFlag\n"
        f"keys = [f'key{{n}}' for n in range({KEYS})]\n"
        "print(json.dumps([ControlFlag.objects.bus_number('default'), {k: shard_of(k.encode()) for k in keys}]))"
    )
    answer = subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE).stdout
    bus, shards = json.loads(answer)
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute("DROP TABLE IF EXISTS history_counter")
        session.execute(TABLES)
        session.execute(FILL, [KEYS - 1])
    return bus, shards


def make_topic(brokers: str, topic: str) -> None:
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient({"bootstrap.servers": brokers})
    admin.create_topics([NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1)])[topic].result(30)


def wait_until_empty(dsn: str, *, patience: float = 60) -> None:
    deadline = time.monotonic() + patience
    query = "SELECT (SELECT count(*) FROM eventbus_outbox) + (SELECT count(*) FROM eventbus_outbox_parked)"
    with psycopg.connect(dsn, autocommit=True) as session:
        while (row := session.execute(query).fetchone()) and row[0]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{row[0]} rows are still there")
            time.sleep(0.1)


def committed(dsn: str) -> dict[str, int]:
    with psycopg.connect(dsn) as session:
        return dict(session.execute("SELECT key, value FROM history_counter").fetchall())


def read_log(brokers: str, topic: str) -> dict[str, list[int]]:
    """Return the numbers of each key in the order of the broker's log."""
    from confluent_kafka.cimpl import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": brokers, "group.id": uuid.uuid4().hex, "enable.auto.commit": False})
    ends = {n: consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=30)[1] for n in range(PARTITIONS)}
    consumer.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n in range(PARTITIONS)])
    found: dict[str, list[int]] = {}
    left = sum(ends.values())
    while left:
        for message in consumer.consume(1000, timeout=5):
            assert message.error() is None, message.error()
            key, value = message.key(), message.value()
            assert key is not None, "every message of the history has a key"
            assert value is not None, "every message of the history has a number"
            found.setdefault(key.decode(), []).append(int(value))
            left -= 1
    consumer.close()
    return found


def judge(last: dict[str, int], log: dict[str, list[int]]) -> Verdict:
    """Compare: every committed number once or more, and each for the first time behind all before it."""
    verdict = Verdict(committed=sum(last.values()), records=sum(map(len, log.values())))
    for key, end in last.items():
        seen: set[int] = set()
        for number in log.get(key, []):
            if number in seen:
                verdict.repeated += 1
            elif number > end:
                verdict.invented.append(f"{key}:{number}")
            elif number != len(seen) + 1:
                verdict.late.append(f"{key}:{number}")
            seen.add(number)
        verdict.lost += [f"{key}:{number}" for number in range(1, end + 1) if number not in seen]
    return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--writers", type=int, default=6)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    from tests.services import databases, kafka, postgres, run, stop

    os.chdir(ROOT)
    run.begin()
    try:
        url = postgres.url()
        database = databases.on_postgres(url)
        environment = settings_of(database, kafka.address())
        subprocess.run([sys.executable, "-m", "django", "migrate", "-v0"], env=environment, check=True)
        verdict = run_history(
            dsn=url,
            database=database,
            brokers=kafka.address(),
            seconds=options.seconds,
            writers=options.writers,
            seed=options.seed,
        )
    finally:
        stop.stop_services()
        run.end()
    report = {"seed": options.seed, "is_clean": verdict.is_clean, **asdict(verdict)}
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    return 0 if verdict.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
