"""A sample of the crash points for the suite, all of them in the long form; and the sweep itself put to the test."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.proof.sweep import counted_sqlite
from tests.proof.sweep.children import in_child
from tests.proof.sweep.counted_psycopg import CountedConnection
from tests.proof.sweep.points import Death, Side, points
from tests.proof.sweep.transport import Counted

pytestmark = [pytest.mark.timeout(1200), pytest.mark.once]

ROOT = Path(__file__).resolve().parents[2]
DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.services)]


def sweep(database: str, *arguments: str) -> list[dict[str, Any]]:
    """Sweep in a process without threads, from which a fork is as good as a new one; the last line is the total."""
    command = [sys.executable, "-m", "tests.proof.sweep", "--database", database, *arguments]
    environment = {**os.environ, "PYTHONDEVMODE": ""}  # which would double its time
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=False, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("database", DATABASES)
def test_who_is_killed_at_any_statement_or_call_leaves_nothing_that_his_successor_cannot_put_right(
    request: pytest.FixtureRequest, database: str
) -> None:
    if database == "postgresql":
        request.getfixturevalue("postgres")

    *scenarios, total = sweep(database, "--sample", "0.02", "--whole", "publish", "relay", "replay")

    assert [finding for swept in scenarios for finding in swept["findings"]] == []
    assert total["deaths"] > 150
    assert min(swept["points"] for swept in scenarios) > 5


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("database", DATABASES)
def test_every_crash_point_is_survived(request: pytest.FixtureRequest, database: str) -> None:
    if database == "postgresql":
        request.getfixturevalue("postgres")

    *scenarios, _ = sweep(database, "--pairs", "5")

    assert [finding for swept in scenarios for finding in swept["findings"]] == []


@pytest.mark.parametrize(
    ("bug", "scenario", "text", "finding"),
    [
        ("offset_before_commit", "consume", "INTO eventbus_inbox", "lost effect"),
        ("no_inbox", "consume", "JournalConsumer.store", "repeated effect"),
        ("delete_before_send", "relay", "MemorySender.send", "lost on the way to the broker"),
        ("retry_in_its_own_transaction", "consume", 'INTO "eventbus_retry', "lost effect"),
    ],
)
def test_a_planted_bug_is_found(bug: str, scenario: str, text: str, finding: str) -> None:
    swept, _ = sweep("sqlite", "--scenario", scenario, "--only", text, "--bug", bug)

    assert finding in " ".join(swept["findings"])


def test_every_exchange_of_libpq_is_a_point(postgres: str, tmp_path: Path) -> None:
    with CountedConnection.connect(postgres) as connection, (tmp_path / "trace").open("w") as trace:
        connection._libpq.trace(trace.fileno())
        points.arm(None, told=-1)
        connection.execute("SELECT %s::int", [1])
        connection.pgconn.exec_(b"SAVEPOINT m; RELEASE SAVEPOINT m")
        psycopg.ClientCursor(connection).execute("SELECT 1; SELECT 2")
        connection.commit()
        points.disarm()
        connection._libpq.untrace()

    lines = (tmp_path / "trace").read_text().splitlines()
    sent = [line for line in lines if "\tF\t" in line and ("\tQuery\t" in line or "\tSync" in line)]
    assert len(points.passed) == len(sent) - 1  # BEGIN goes ahead of the first statement


@pytest.mark.parametrize("side", list(Side))
def test_who_is_killed_at_a_commit_dies_before_or_after_it_took_effect(tmp_path: Path, side: Side) -> None:
    path = tmp_path / "database"
    sqlite3.connect(path).execute("CREATE TABLE written (number integer)").connection.close()

    def write(told: int) -> None:
        connection = sqlite3.connect(path, factory=counted_sqlite.CountedConnection)
        points.arm(Death(label="COMMIT", occurrence=1, side=side), told=told)
        connection.cursor().execute("INSERT INTO written VALUES (1)")
        connection.commit()

    ended = in_child(write)

    assert ended.was_killed
    assert ended.said == {"died": f"{side} COMMIT (1)"}
    (there,) = sqlite3.connect(path).execute("SELECT count(*) FROM written").fetchone()
    assert there == (1 if side is Side.AFTER else 0)


def test_a_call_about_nothing_and_an_idle_poll_are_no_points() -> None:
    counted = Counted(Quiet())
    points.arm(None, told=-1)

    counted.poll()
    counted.resume(set())
    counted.resume({1})

    points.disarm()
    assert points.passed == ["Quiet.resume"]


def test_a_process_with_a_thread_is_not_forked() -> None:
    # In a process of its own, since the suite's has threads anyway.
    code = """
import threading, django
django.setup()
from tests.proof.sweep.trials import require_bareness
require_bareness()
threading.Thread(target=threading.Event().wait, daemon=True).start()
try:
    require_bareness()
except RuntimeError:
    print("refused")
"""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.proof.sweep.settings"}

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)

    assert done.stdout.split() == ["refused"], done.stderr


class Quiet:
    """A consumer for which nothing comes."""

    def poll(self) -> list[object]:
        return []

    def resume(self, partitions: set[int]) -> None: ...
