"""How do several sizes of one table exist side by side, so that they are measured in turn?"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from benchmarks import services
from benchmarks.bench import tell


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Be a database of its own in which something has one size; an alias of Django's leads to it."""

    size: int
    alias: str
    address: str  # conninfo

    @property
    def config(self) -> Any:
        """Return the default bus's settings, with this database as its own."""
        from django_eventbus.bus import buses

        return replace(buses["default"].config, database=self.alias)

    @property
    def backend(self) -> int:
        """Return the process that serves Django's connection of this thread."""
        from django.db import connections

        connections[self.alias].ensure_connection()
        return int(connections[self.alias].connection.info.backend_pid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Hold the servers, and a database with empty tables from which worlds are made."""

    server: str
    broker: str
    empty: str  # name of the database

    @property
    def home(self) -> World:
        """Return the database itself as a world, for what needs only one."""
        return World(size=0, alias="default", address=make_conninfo(self.server, dbname=self.empty))

    @contextmanager
    def worlds(
        self, sizes: tuple[int, ...], fill: Callable[[psycopg.Connection[Any], World], None]
    ) -> Iterator[list[World]]:
        """Make one world for each size, the largest last, and drop them afterwards."""
        made: list[World] = []
        try:
            for size in sizes:
                tell(f"filling {size:,}")
                world = self._make(size)
                made.append(world)
                with psycopg.connect(world.address, autocommit=True) as connection:
                    fill(connection, world)
                    connection.execute("VACUUM ANALYZE")
                    connection.execute("CHECKPOINT")
            yield made
        finally:
            for world in made:
                self._drop(world)

    def _make(self, size: int) -> World:
        from django.db import connections

        connections.close_all()  # a database that is copied must have no session
        name = f"{self.empty}_{uuid.uuid4().hex[:6]}"
        with psycopg.connect(self.server, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {self.empty}")
        alias = f"size-{size}"
        connections.databases[alias] = {**connections.databases["default"], "NAME": name}
        return World(size=size, alias=alias, address=make_conninfo(self.server, dbname=name))

    def _drop(self, world: World) -> None:
        from django.db import connections

        connections.close_all()
        connections.databases.pop(world.alias)
        if hasattr(connections._connections, world.alias):
            del connections[world.alias]
        with psycopg.connect(self.server, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name_of(world.address)} WITH (FORCE)")


@contextmanager
def stage(server: str, broker: str) -> Iterator[Stage]:
    """Create the empty database and set Django up on it; drop it afterwards."""
    with services.database(server, broker, project="benchmarks.scaling.settings") as address:
        from django_eventbus.models.control import bus_number
        from django_eventbus.outbox import wakeup

        wakeup.hold()  # nobody relays unless a curve does
        bus_number("default", "default")
        yield Stage(server=server, broker=broker, empty=name_of(address))


def name_of(address: str) -> str:
    return str(conninfo_to_dict(address)["dbname"])
