"""How are the steps of a trace given to real processes, and what does the world look like after each?"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg

from django_eventbus.models.partition import EVICT
from django_eventbus.transports.base import TopicPartition
from tests.proof.differential import actors
from tests.proof.differential.actors import Actor, Disagreement, once
from tests.proof.differential.settings import FOLDER
from tests.proof.model.exploring import Way
from tests.proof.model.state import Bounds, State, Waiting, beginning
from tests.proof.model.steps import Label
from tests.proof.sweep.journal import Journal

GROUP = "differential"
PLACE = TopicPartition("proof", 0)
TABLES = """
SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables
WHERE schemaname = 'public' AND (tablename LIKE 'eventbus_%' OR tablename LIKE 'differential_%')
AND tablename <> 'eventbus_control'
"""
END_RELAY = """
SELECT count(pg_terminate_backend(pid)) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND mode = 'ExclusiveLock'
  AND classid = 'eventbus_outbox'::regclass::oid AND database = (SELECT oid FROM pg_database
    WHERE datname = current_database())
"""
LEFT = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
HANDLERS = ("proof.first", "proof.second")


class Stage:
    """The processes of one trace, and the eyes of the judge."""

    def __init__(self, bounds: Bounds, session: psycopg.Connection[Any]) -> None:
        self._bounds = bounds
        self._session = session
        self._journal = Journal(FOLDER)
        self._undone: set[int] = set()  # consumers whose unit has noticed that it is evicted
        self._clear()
        self._send_first(bounds)
        self.writers = [
            Actor.start(actors.writer(number, key))
            for number, key in enumerate(bounds.keys)
            if number >= len(set(bounds.sent))
        ]
        self.relays = [Actor.start(actors.relay) for _ in range(bounds.relays)]
        self.consumers = [Actor.start(actors.consumer) for _ in range(bounds.consumers)]

    def follow(self, way: Way) -> None:
        """Do each step, and compare what there is with the model's state."""
        before = beginning(self._bounds)
        self._compare(before)
        for label, state in way:
            try:
                self._do(label, before)
                self._compare(state)
            except Disagreement as exc:
                raise Disagreement(f"{label}: {exc}") from exc
            before = state

    def close(self) -> None:
        for actor in (*self.writers, *self.relays, *self.consumers):
            with suppress(ProcessLookupError):
                actor.kill()

    # Steps

    def _do(self, label: Label, before: State) -> None:
        match label.name:
            case "publish" | "commit" | "roll_back":
                self.writers[label.actor - len(set(self._bounds.sent))].do(label.name)
            case "kill_relay":
                self._replace(self.relays, label.actor, actors.relay)
            case "kill_consumer":
                self._replace(self.consumers, label.actor, actors.consumer)
            case "evict_relay":
                self._expect(1, self._fetch(END_RELAY) > 0)
            case "evict_unit":
                self._expect(1, self._fetch(EVICT.replace("%s", str(self._partition()))))
            case "expel":
                self._journal.expel(GROUP)
            case "replay":
                self._replay()
            case "begin" | "read_lanes" | "read" | "send" | "do_not_send" | "refuse_again" | "settle":
                self._relay(label)
            case "notice_eviction":
                self.relays[label.actor].do(label.name)
            case _:
                self._consume(label, before)

    def _relay(self, label: Label) -> None:
        answer = self.relays[label.actor].do(label.name, label.detail)
        number = label.detail.rpartition(" ")[2]
        if number.isdigit():
            self._expect(number, answer)

    def _consume(self, label: Label, before: State) -> None:
        unit = before.consumers[label.actor].unit
        if label.name == "commit_unit" and label.actor in self._undone:
            self._undone.discard(label.actor)
            return
        answer = self.consumers[label.actor].do(label.name, label.detail)
        if label.name in ("run", "commit_unit") and unit is not None and unit.is_evicted:
            if answer == "undone" and label.name == "run":
                self._undone.add(label.actor)
            return
        if label.detail == "fenced" or answer == "fenced":
            self._expect(label.detail, answer)
        if label.name == "store":
            # The note that a worker makes once a second.
            self._session.execute("UPDATE eventbus_partition SET low_water = %s", [self._committed()])

    def _replace(self, crew: list[Actor], number: int, part: Callable[[], None]) -> None:
        crew[number].kill()
        self._undone.discard(number)
        crew[number] = Actor.start(part)

    def _replay(self) -> None:
        from django_eventbus.delivery.replay import replay

        ids = [row[0] for row in self._rows("SELECT id FROM eventbus_dead_letter WHERE status = 'dead'")]
        once(lambda: replay(ids, actor="trace", using="default"))

    # What there is

    def _compare(self, state: State) -> None:
        ids = {number: writer.id for number, writer in enumerate(state.writers)}
        log = tuple(ids[json.loads(record.value or b"")["number"]] for record in self._journal.read(PLACE, start=0))
        self._expect(state.log, log)
        self._expect(set(state.outbox), {row[0] for row in self._rows("SELECT id FROM eventbus_outbox")})
        self._expect(
            state.parked, tuple(row[0] for row in self._rows("SELECT id FROM eventbus_outbox_parked ORDER BY id"))
        )
        buried = self._rows("SELECT position FROM eventbus_dead_letter WHERE direction = 'out'")
        self._expect(set(state.buried), {row[0] for row in buried})
        if not state.consumers:
            return
        self._expect(state.committed, self._committed())
        self._expect(state.epoch, self._fetch("SELECT coalesce(max(epoch), 0) FROM eventbus_partition"))
        for number, handler in enumerate(state.handlers):
            name = HANDLERS[number]
            taken = self._rows("SELECT position FROM eventbus_inbox WHERE handler = %s", name)
            self._expect(set(handler.inbox), {log[row[0]] for row in taken})
            effects = self._rows("SELECT number FROM differential_effect WHERE handler = %s ORDER BY id", name)
            self._expect(handler.effects, tuple(ids[row[0]] for row in effects))
            waiting = self._rows(
                "SELECT position, attempts, available_at IS NOT NULL FROM eventbus_retry WHERE handler = %s"
                " ORDER BY position",
                name,
            )
            self._expect(handler.waiting, tuple(Waiting(log[place], count, is_due) for place, count, is_due in waiting))
            dead = "SELECT position FROM eventbus_dead_letter WHERE handler = %s AND status = 'dead'"
            self._expect(set(handler.dead), {log[row[0]] for row in self._rows(dead, name)})

    def _expect(self, wanted: object, there: object) -> None:
        if wanted != there:
            raise Disagreement(f"the model says {wanted}, the code {there}")

    def _committed(self) -> int:
        return self._journal.committed(GROUP).get(PLACE, 0)

    def _partition(self) -> int:
        return self._fetch("SELECT id FROM eventbus_partition")

    def _fetch(self, statement: str) -> int:
        return int(self._rows(statement)[0][0])

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return self._session.execute(statement, values or None).fetchall()

    # What was there before

    def _clear(self) -> None:
        while self._fetch(LEFT):
            pass
        tables = self._rows(TABLES)[0][0]
        self._session.execute(f"TRUNCATE {tables} RESTART IDENTITY")
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir()

    def _send_first(self, bounds: Bounds) -> None:
        """Publish and send what the log holds at the start, in its order, with its repetitions."""
        if not bounds.sent:
            return
        once(lambda: _publish(bounds))
        path = FOLDER / f"{PLACE.topic}@{PLACE.number}.log"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[number - 1] for number in bounds.sent))


def _publish(bounds: Bounds) -> None:
    from django.db import connections, transaction

    from django_eventbus.bus import buses, publish
    from django_eventbus.outbox.relay import Relay
    from tests.proof.differential.handlers import Stepped
    from tests.proof.sweep.transport import JournalTransport

    for number in sorted(set(bounds.sent)):
        with transaction.atomic():
            publish(Stepped(key=bounds.keys[number - 1], number=number - 1))
    import threading

    transport = JournalTransport(buses["default"].config)
    relay = Relay(buses["default"].config, lambda: transport.open_sender(client_id="first"))
    relay.run(threading.Event(), until_empty=True, timeout=20)
    connections.close_all()
