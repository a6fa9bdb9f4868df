"""Databases for processes that are not the suite's."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg
import pytest


@pytest.fixture
def new_database() -> Iterator[Callable[[str], str]]:
    """Create a database on a server, `new_database(url) -> url`; dropped afterwards."""
    made: list[tuple[str, str]] = []

    def make(server: str) -> str:
        name = f"smoke_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        made.append((server, name))
        return urlsplit(server)._replace(path=f"/{name}").geturl()

    yield make
    for server, name in made:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
