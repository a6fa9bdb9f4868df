"""Where does a history run that is started by hand get its database and its broker from?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.history.members import ROOT
from tests.services import databases, kafka, postgres, run, stop


@contextmanager
def own_services() -> Iterator[tuple[str, str]]:
    """Start PostgreSQL and Kafka; yield the address of an empty database and that of the broker."""
    run.begin()
    try:
        yield new_database(postgres.url()), kafka.address()
    finally:
        stop.stop_services()
        run.end()


def new_database(server: str, *, template: str = "template1") -> str:
    name = f"history_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return server.rpartition("/")[0] + f"/{name}"


def migrated_database(server: str) -> str:
    """Make a copy of a database that is migrated once for all processes of this run of tests."""

    def migrate() -> dict[str, str]:
        url = new_database(server)
        databases_of_child = {"EVENTBUS_TEST_DATABASES": json.dumps({"default": databases.on_postgres(url)})}
        command = [sys.executable, "-m", "django", "migrate", "--settings=tests.settings", "--verbosity", "0"]
        subprocess.run(command, env=os.environ | databases_of_child, cwd=ROOT, check=True)
        return {"name": url.rpartition("/")[2]}

    return new_database(server, template=run.shared_address("template", migrate)["name"])
