"""The log that the judge believes: written by steps and services themselves, in the transaction of each."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field

from django.db import connection

from django_eventbus.delivery.context import MessageContext
from tests.history.path.notes import note
from tests.history.trips.fates import Kind

TABLES = """
CREATE TABLE trip_counter (value integer NOT NULL);
INSERT INTO trip_counter VALUES (0);
CREATE TABLE trip_started (trip text PRIMARY KEY);
CREATE TABLE trip_step (id bigserial PRIMARY KEY, trip text, number int, what text, message_id text, status text,
    asked text, undone text, armed text, now float8, attempt int, owner text, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE trip_effect (id bigserial PRIMARY KEY, trip text, part text, number int, kind text, message_id text,
    attempt int, owner text, at timestamptz DEFAULT clock_timestamp())
"""
STEP = """
INSERT INTO trip_step (trip, number, what, message_id, status, asked, undone, armed, now, attempt, owner)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
EFFECT = """
INSERT INTO trip_effect (trip, part, number, kind, message_id, attempt, owner) VALUES (%s, %s, %s, %s, %s, %s, %s)
"""


@dataclass(slots=True, kw_only=True)
class Line:
    """Say what one step of a trip does; filled while its method runs."""

    what: str
    asked: list[str] = field(default_factory=list)  # part/number
    undone: list[str] = field(default_factory=list)
    armed: dict[str, float] = field(default_factory=dict)  # name -> due

    def write(self, trip: str, *, number: int, status: str, now: float, context: MessageContext) -> None:
        note("handled", f"step {context.message_id}")
        told = [json.dumps(each) for each in (self.asked, self.undone, self.armed)]
        head, tail = (trip, number, self.what, context.message_id, status), (now, context.attempt, str(os.getpid()))
        with connection.cursor() as cursor:
            cursor.execute(STEP, [*head, *told, *tail])


def write_effect(trip: str, part: str, number: int, kind: Kind, context: MessageContext) -> None:
    note("handled", f"effect {context.message_id}")
    with connection.cursor() as cursor:
        cursor.execute(EFFECT, [trip, part, number, kind.value, context.message_id, context.attempt, str(os.getpid())])
