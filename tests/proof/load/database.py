"""The database of a load: its server, which may be harmed, and the tables that writers and handlers fill."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.proof.load.writers import KEYS
from tests.services.postgres import SETTINGS, PostgresServer

PATIENCE = 60.0  # seconds for a server to end
TABLES = f"""
CREATE TABLE load_counter (key text PRIMARY KEY, value integer NOT NULL) WITH (fillfactor = 20);
INSERT INTO load_counter SELECT 'k' || g, 0 FROM generate_series(0, {KEYS - 1}) AS g;
CREATE TABLE load_published (id bigserial PRIMARY KEY, event_id uuid, key text, number int);
CREATE TABLE load_effect (id bigserial PRIMARY KEY, event_id uuid, key text, number int, attempt int);
CREATE SEQUENCE load_lock_seq
"""


@dataclass(kw_only=True)
class LoadServer(PostgresServer):
    """A server with settings and an environment of its own, which may end in other ways than by request."""

    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        settings = [part for name, value in (SETTINGS | self.settings).items() for part in ("-c", f"{name}={value}")]
        environment = [f"{name}={value}" for name, value in self.environment.items()]
        program = [str(self.binaries / "postgres"), "-D", str(self.data), "-p", str(self.port), *settings]
        self.process.start(["/usr/bin/env", *environment, *program], is_ready=self.answers)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def end(self, number: signal.Signals) -> None:
        """Send a signal to the postmaster and wait until it is gone."""
        os.kill(self.postmaster(), number)
        self.await_end(PATIENCE)

    def await_end(self, timeout: float) -> None:
        """Wait until the server has ended; raises subprocess.TimeoutExpired where it has not."""
        if self.process.process is not None:
            self.process.process.wait(timeout)

    def has_ended(self) -> bool:
        return self.process.process is None or self.process.process.poll() is not None

    def postmaster(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def new_database(self, name: str, *, tablespace: Path | None = None) -> str:
        """Make a database, perhaps in a folder of its own; return its address."""
        with psycopg.connect(self.url, autocommit=True) as session:
            place = ""
            if tablespace is not None:
                session.execute(f"CREATE TABLESPACE {name} LOCATION '{tablespace}'")
                place = f"TABLESPACE {name}"
            session.execute(f"CREATE DATABASE {name} {place}")
        return self.url.rpartition("/")[0] + f"/{name}"


@dataclass(kw_only=True)
class LoadDatabase:
    """Statements about one database, each in a session of its own, which carries the observer's name."""

    url: str

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, autocommit=True, connect_timeout=2, application_name="observer")

    def fetch(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self.connect() as session:
            cursor = session.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def count(self, statement: str) -> int:
        return int(self.fetch(statement)[0][0])

    def make_tables(self) -> None:
        with self.connect() as session:
            for statement in TABLES.split(";"):
                session.execute(statement)
