"""The part of the product's relay that looks after what waits for its time."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import django

django.setup()

from benchmarks.children import serve
from django_eventbus.bus import buses
from django_eventbus.conf import BusConfig
from django_eventbus.models.relay import RelaySession
from django_eventbus.outbox.agenda import Agenda
from django_eventbus.outbox.reader import WindowReader
from django_eventbus.outbox.shards import shards_of
from django_eventbus.outbox.step import Step
from django_eventbus.transports.base import Sender

nobody: Any = None
NO_SENDER: Sender = nobody  # an empty outbox asks for none


class IdleRelay:
    """Take the turns of an idle relay, but for its pauses."""

    def __init__(self, config: BusConfig) -> None:
        self._config = config
        self.session = RelaySession(config, shards=shards_of(0, shares=1), is_listening=False)
        self.agenda = Agenda(self.session)
        self._reader = WindowReader(self.session, limit=config.outbox.batch_size)

    def turn(self) -> tuple[float, float]:
        """Begin, lock, look at the schedule, read the outbox, commit; return the seconds of all, and of the look."""
        began = time.perf_counter()
        self.session.begin()
        before = time.perf_counter()
        self.agenda.move_due()
        looked = time.perf_counter() - before
        until = time.monotonic() + 10
        Step(self._config, session=self.session, reader=self._reader, sender=NO_SENDER, until=until).run()
        self.session.commit()
        self._reader.learn(set())
        return time.perf_counter() - began, looked


relays = {name: IdleRelay(replace(buses["default"].config, alias=name)) for name in ("default", "nothing")}


def move(count: int) -> dict[str, Any]:
    """Move what is due, as the relay does: one durable transaction after the other; note when how much was moved."""
    session, agenda = relays["default"].session, relays["default"].agenda
    marks, moved = [(time.monotonic(), 0)], 0
    while moved < count:
        session.begin()
        moved += agenda.move_due()
        session.commit()
        marks.append((time.monotonic(), moved))
    return {"moved": moved, "marks": marks}


def poll(count: int) -> dict[str, list[tuple[float, float]]]:
    """Take turns on the bus that has a schedule and on one that has none, alternately."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in relays}
    for _ in range(count):
        for name in found:
            found[name].append(relays[name].turn())
        found = dict(reversed(found.items()))  # the first after the pause finds cold caches
        threading.Event().wait(0.005)  # an idle relay pauses for longer
    return found


serve({"move": move, "poll": poll})
