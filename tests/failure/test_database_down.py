"""The database restarts under a relay and a consumer, each a process of its own, and both recover by themselves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.services import databases

ROOT = Path(__file__).resolve().parents[2]
PUBLISH = """
import django; django.setup()
from django.db import transaction
from django_eventbus import publish_many
from tests.conformance.happenings import Counted
with transaction.atomic():
    publish_many([Counted(key=key, number=number) for number in range({first}, {end}) for key in "ab"])
"""


class Processes:
    """`drain_outbox`, `consume_events` and short commands on one database and one broker."""

    def __init__(self, database: str, broker: str, domain: str) -> None:
        self._database = database
        bus = {
            "TRANSPORT": "kafka",
            "SERVICE": "tests",
            "DOMAIN": domain,
            "GROUP": f"group-{domain}",
            "OPTIONS": {"bootstrap.servers": broker},
            "CONSUMER_OPTIONS": {"session.timeout.ms": 6000, "auto.commit.interval.ms": 100},
            "OUTBOX": {"GRACE": 2, "SEND_DEADLINE": 1},
            "CONSUMER": {"GRACE": 2},
        }
        entry = databases.on_postgres(database)
        self._environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.failure.settings",
            "EVENTBUS_TEST_DATABASES": json.dumps({"default": entry, "other": entry}),
            "EVENTBUS_TEST_SETTINGS": json.dumps({"default": bus}),
            "PYTHONPATH": str(ROOT),
        }
        self.running: list[subprocess.Popen[bytes]] = []

    def run(self, *arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], env=self._environment, check=True, timeout=60)

    def publish(self, first: int, end: int) -> None:
        self.run("-c", PUBLISH.format(first=first, end=end))

    def start(self, command: str) -> None:
        arguments = [sys.executable, "-m", "django", command]
        self.running.append(subprocess.Popen(arguments, env=self._environment, stdout=subprocess.DEVNULL))

    def fetch(self, statement: str) -> list[Any]:
        with psycopg.connect(self._database) as connection:
            return connection.execute(statement).fetchall()

    def handled(self, key: str) -> list[int]:
        return [row[0] for row in self.fetch(f"SELECT number FROM shop_effect WHERE key = '{key}' ORDER BY id")]

    def wait_until(self, is_so: Callable[[], bool], *, patience: float = 40.0) -> None:
        ends_at = time.monotonic() + patience
        while not is_so():
            assert [process.poll() for process in self.running] == [None] * len(self.running)
            assert time.monotonic() < ends_at, "the condition was not reached in time"
            time.sleep(0.1)

    def end(self) -> list[int]:
        """Stop everything as an operator does; return the exit statuses."""
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        return [process.wait(30) for process in self.running]


@pytest.fixture
def processes(own_postgres: Any, kafka: str, make_topic: Callable[..., str]) -> Iterator[Processes]:
    domain = f"t{uuid.uuid4().hex[:12]}"
    for topic in ("counts", "doubles"):
        make_topic(f"dev.{domain}.public.{topic}.v1", partitions=2)
    processes = Processes(own_postgres.url, kafka, domain)
    processes.run("-m", "django", "migrate", "--run-syncdb", "--verbosity", "0")
    yield processes
    for process in processes.running:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_database_restarted_under_relay_and_consumer(processes: Processes, own_postgres: Any) -> None:
    processes.start("drain_outbox")
    processes.start("consume_events")
    processes.publish(0, 10)
    processes.wait_until(lambda: all(len(processes.handled(key)) >= 10 for key in "ab"))

    # What is published just before the end is in the middle of its way, on one side of the broker or the other.
    processes.publish(10, 200)
    own_postgres.stop()
    time.sleep(2)  # long enough for both to have met the outage several times
    own_postgres.start()
    processes.publish(200, 210)

    processes.wait_until(lambda: all(len(processes.handled(key)) >= 210 for key in "ab"))
    for key in "ab":
        assert processes.handled(key) == list(range(210))
    left = ("eventbus_outbox", "eventbus_outbox_lane", "eventbus_retry", "eventbus_dead_letter")
    processes.wait_until(lambda: not processes.fetch("SELECT id FROM eventbus_outbox"))
    assert {table: processes.fetch(f"SELECT count(*) FROM {table}")[0][0] for table in left} == dict.fromkeys(left, 0)
    assert processes.end() == [0, 0]
