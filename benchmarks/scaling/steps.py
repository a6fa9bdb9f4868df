"""How is one step of the product's relay taken, and timed, on the outbox of one world?"""

from __future__ import annotations

import time
from typing import Any

import psycopg

from benchmarks.bench import require
from benchmarks.relaying.draining import FILL
from benchmarks.topics import FIRST_NUMBER

from .meter import Meter
from .worlds import World

BATCH = 1000  # rows that a step takes
AT_ONCE = 1_000_000  # rows of one INSERT


class Steps:
    """Be a relay whose steps are taken one by one; it never pauses."""

    def __init__(self, world: World, sender: Any, *, shares: int = 1, batch: int = BATCH) -> None:
        from django_eventbus.models.relay import RelaySession
        from django_eventbus.outbox.agenda import Agenda
        from django_eventbus.outbox.reader import WindowReader
        from django_eventbus.outbox.shards import shards_of

        self._config, self._sender = world.config, sender
        self._session = RelaySession(self._config, shards=shards_of(0, shares=shares), is_listening=False)
        self._agenda = Agenda(self._session)
        self._reader = WindowReader(self._session, limit=batch)
        self.backend = int(self._session.fetch("SELECT pg_backend_pid()")[0][0])

    def take(self) -> int:
        """Begin, lock, look, read, send, delete, commit: what `Relay` does in a turn. Return how many rows left."""
        from django_eventbus.outbox.step import Step

        self._session.begin()
        self._agenda.move_due()
        until = time.monotonic() + 20
        step = Step(self._config, session=self._session, reader=self._reader, sender=self._sender, until=until)
        step.run()
        self._session.commit()
        self._reader.learn(step.settlement.gone)
        return len(step.settlement.gone)

    def time(self, meter: Meter, rows: int = BATCH) -> None:
        """Take one step from which so many rows are to leave; the sample is the time of one row."""
        with meter.block(rows):
            left = self.take()
        require(rows, left, "rows that left the outbox")

    def look(self, meter: Meter, times: int) -> None:
        """Look at an outbox in which nothing can be sent."""
        for _ in range(times):
            with meter.block(1):
                left = self.take()
            require(0, left, "rows that left an outbox in which nothing can be sent")

    def close(self) -> None:
        self._session.close()


def add(connection: psycopg.Connection[Any], topic: str, count: int) -> None:
    """Put ready rows of a thousand keys into the outbox, as the product writes them."""
    for start in range(0, count, AT_ONCE):
        some = min(AT_ONCE, count - start)
        connection.execute(FILL, {"topic": topic, "count": some, "first": FIRST_NUMBER})
