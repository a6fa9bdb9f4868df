"""Handlers that write down what they do, in their transaction and beside it, and fail by a plan."""

from __future__ import annotations

import os
from collections.abc import Sequence

from django.db import connection
from psycopg import Cursor

from django_eventbus.delivery.context import MessageContext
from django_eventbus.delivery.registry import handler
from tests.history import chaos
from tests.history.path.events import ECHO_EVERY, Echoed, Stepped
from tests.history.path.fates import POLICY, dies, fails
from tests.history.path.notes import note
from tests.history.path.tables import HANDLERS
from tests.history.plan import Planned

# What each run saw before it: the highest number of its key that is committed, or that stands before it in its list.
EFFECT = """
INSERT INTO path_effect (handler, event_id, key, number, previous, attempt, owner)
SELECT %(handler)s, %(id)s::uuid, %(key)s, %(number)s, coalesce(max(number), 0), %(attempt)s, %(owner)s
FROM path_effect WHERE handler = %(handler)s AND key = %(key)s
"""
EFFECTS = """
INSERT INTO path_effect (handler, event_id, key, number, previous, attempt, owner)
SELECT %(handler)s, u.event_id, u.key, u.number, coalesce(greatest(
    max(u.number) OVER (PARTITION BY u.key ORDER BY u.place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
    (SELECT max(e.number) FROM path_effect AS e WHERE e.handler = %(handler)s AND e.key = u.key)), 0),
    u.attempt, %(owner)s
FROM unnest(%(ids)s::uuid[], %(keys)s::int[], %(numbers)s::int[], %(attempts)s::int[])
    WITH ORDINALITY AS u (event_id, key, number, attempt, place)
ORDER BY u.place
"""


@handler(Stepped, name="path.ordered", retry=POLICY)
def ordered(event: Stepped, context: MessageContext) -> Echoed | None:
    write([event], [context])
    return None if event.number % ECHO_EVERY else Echoed(key=event.key, number=event.number)


@handler(Stepped, name="path.listed", retry=POLICY, batch=100)
def listed(events: list[Stepped], contexts: list[MessageContext]) -> None:
    write(events, contexts)


@handler(Echoed, name="path.echo", retry=POLICY)
def echo(event: Echoed, context: MessageContext) -> None:
    write([event], [context])


@handler(Echoed, name="path.aside", retry=POLICY, ordered=False)
def aside(event: Echoed, context: MessageContext) -> None:
    write([event], [context])


def write(events: Sequence[Stepped | Echoed], contexts: Sequence[MessageContext]) -> None:
    name = contexts[0].handler
    number = HANDLERS[name].number
    note("handled", "\n".join(f"{number}\t{context.message_id}\t{context.attempt}" for context in contexts))
    each: list[dict[str, object]] = [
        {"id": context.message_id, "key": int(event.key), "number": event.number, "attempt": context.attempt}
        for event, context in zip(events, contexts, strict=True)
    ]
    ours = {"handler": number, "owner": os.getpid()}
    if len(each) == 1:
        execute(EFFECT, ours | each[0])
    else:
        execute(EFFECTS, ours | {f"{column}s": [one[column] for one in each] for column in each[0]})
    chaos.point("handler" if contexts[0].attempt == 1 else "retry handler")
    for event, context in zip(events, contexts, strict=True):
        if dies(name, event.key, event.number) or fails(name, event.key, event.number, context.attempt):
            raise Planned  # behind the effect, which has to go with it


def execute(statement: str, values: dict[str, object]) -> None:
    """Run a statement that the server keeps prepared: planning it each time would cost more than all else."""
    with connection.wrap_database_errors, Cursor(connection.connection) as cursor:
        cursor.execute(statement, values, prepare=True)
