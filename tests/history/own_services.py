"""Where does a history run that is started by hand get its database and its broker from?"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.services import kafka, postgres, run, stop


@contextmanager
def own_services() -> Iterator[tuple[str, str]]:
    """Start PostgreSQL and Kafka; yield the address of an empty database and that of the broker."""
    run.begin()
    try:
        yield new_database(postgres.url()), kafka.address()
    finally:
        stop.stop_services()
        run.end()


def new_database(server: str) -> str:
    name = f"history_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.rpartition("/")[0] + f"/{name}"
