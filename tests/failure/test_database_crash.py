"""The database crashes just after a scheduled event was sent: it must not wait again, or somebody could cancel it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.outbox.file_transport import read_lines
from tests.outbox.relaying import eventually
from tests.services import databases

ROOT = Path(__file__).resolve().parents[2]
SCHEDULE = """
INSERT INTO eventbus_scheduled (event_id, bus, shard, topic, key, headers, payload, event_name, due_at)
SELECT gen_random_uuid(), id, 0, 't', 'k', '', convert_to(g::text, 'UTF8'), 'x', now()
FROM eventbus_control, generate_series(1, 5) g WHERE bus = 'default'
"""


@pytest.fixture
def crashing(own_postgres: Any) -> Any:
    """A server that forgets, when it is stopped, whatever it has not written yet; it writes nothing by itself."""
    with psycopg.connect(own_postgres.url, autocommit=True) as session:
        session.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        session.execute("ALTER SYSTEM SET autovacuum = off")
    own_postgres.stop()
    own_postgres.process.stop_signal = signal.SIGQUIT
    own_postgres.start()
    return own_postgres


def test_what_was_sent_waits_no_more_after_a_crash_of_the_database(crashing: Any, tmp_path: Path) -> None:
    path = tmp_path / "sent"
    bus = {"TRANSPORT": "tests.outbox.file_transport.FileTransport", "OPTIONS": {"path": str(path)}}
    entry = databases.on_postgres(crashing.url)
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "EVENTBUS_TEST_DATABASES": json.dumps({"default": entry, "other": entry}),
        "EVENTBUS_TEST_SETTINGS": json.dumps({"default": bus}),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "django"]
    subprocess.run([*command, "migrate", "--verbosity", "0"], env=environment, check=True, timeout=60)
    with psycopg.connect(crashing.url, autocommit=True) as session:
        session.execute("CHECKPOINT")

    relay = subprocess.Popen([*command, "drain_outbox"], env=environment, stderr=subprocess.DEVNULL)
    try:
        with psycopg.connect(crashing.url, autocommit=True) as session:
            session.execute(SCHEDULE)
        eventually(lambda: len(read_lines(path)) >= 5, within=30)
        crashing.stop()
    finally:
        relay.kill()
        relay.wait()
    crashing.start()

    with psycopg.connect(crashing.url) as session:
        (waiting,) = session.execute("SELECT count(*) FROM eventbus_scheduled").fetchone() or (None,)
    assert waiting == 0
