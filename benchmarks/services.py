"""Where do the servers come from, and how does the database of the benchmarks get its tables?"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import make_conninfo

from tests.services import jars, kafka, postgres, run, stop

from . import settings

# As a server that must not lose anything: the test suite's own settings spare the disk.
DURABLE = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
}


@contextmanager
def started() -> Iterator[tuple[str, str]]:
    """Start what the environment does not name, yield (conninfo of PostgreSQL, address of Kafka), stop it."""
    is_ours = run.begin()
    postgres.SETTINGS.update(DURABLE)
    try:
        yield postgres.url(), kafka.address()
    finally:
        if is_ours:
            stop.stop_services()
            run.end()


@contextmanager
def database(server: str, broker: str, *, project: str = "benchmarks.settings") -> Iterator[str]:
    """Create a database with the project's tables; the environment leads every process to it. Drop it afterwards."""
    import django
    from django.core.management import call_command
    from django.db import connection, connections

    name = f"eventbus_bench_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    os.environ |= {settings.POSTGRES: server, settings.DATABASE: name, settings.KAFKA: broker}
    os.environ["DJANGO_SETTINGS_MODULE"] = project
    try:
        _reload_settings()
        django.setup()
        call_command("migrate", run_syncdb=True, verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE shop_effect ADD COLUMN at timestamptz NOT NULL DEFAULT clock_timestamp()")
            cursor.execute("CREATE TABLE reference_inbox (LIKE eventbus_inbox INCLUDING ALL)")
        yield make_conninfo(server, dbname=name)
    finally:
        connections.close_all()
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def versions(server: str) -> dict[str, str]:
    with psycopg.connect(server) as connection:
        major = connection.execute("SHOW server_version").fetchone()
    given = bool(os.environ.get(kafka.ADDRESS))
    return {
        "postgres": str(major[0] if major else "").split()[0],
        "kafka": "the one that the environment names" if given else f"Apache Kafka {jars.VERSION}",
    }


def _reload_settings() -> None:
    """Read the settings again: this process imported their names before it knew the addresses."""
    import importlib

    importlib.reload(settings)
