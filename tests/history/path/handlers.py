"""Handlers that write down what they do, in their transaction and beside it, and fail by a plan."""

from __future__ import annotations

import os

from django.db import connection

from django_eventbus.delivery.context import MessageContext
from django_eventbus.delivery.registry import handler
from django_eventbus.exceptions import Reject
from tests.history import chaos
from tests.history.path.events import ECHO_EVERY, Echoed, Stepped
from tests.history.path.notes import note
from tests.history.plan import POLICY, Planned, dies, fails

EFFECT = """
INSERT INTO path_effect (handler, event_id, key, number, previous, attempt, owner)
SELECT %(handler)s, %(event_id)s, %(key)s, %(number)s, coalesce(max(number), 0), %(attempt)s, %(owner)s
FROM path_effect WHERE handler = %(handler)s AND key = %(key)s
"""


@handler(Stepped, name="path.ordered", retry=POLICY)
def ordered(event: Stepped, context: MessageContext) -> Echoed | None:
    write(event, context)
    return None if event.number % ECHO_EVERY else Echoed(key=event.key, number=event.number)


@handler(Stepped, name="path.unordered", retry=POLICY, ordered=False)
def unordered(event: Stepped, context: MessageContext) -> None:
    if dies(context.handler, event.key, event.number):
        raise Reject("as planned")
    write(event, context)


@handler(Echoed, name="path.echo", retry=POLICY)
def echo(event: Echoed, context: MessageContext) -> None:
    write(event, context)


def write(event: Stepped | Echoed, context: MessageContext) -> None:
    note("handled", f"{context.handler} {context.message_id}")
    values: dict[str, str | int] = {
        "handler": context.handler,
        "event_id": context.message_id,
        "key": event.key,
        "number": event.number,
        "attempt": context.attempt,
        "owner": str(os.getpid()),
    }
    with connection.cursor() as cursor:
        cursor.execute(EFFECT, values)
    chaos.point("handler" if context.attempt == 1 else "retry handler")
    is_doomed = dies(context.handler, event.key, event.number)
    if is_doomed or fails(context.handler, event.key, event.number, context.attempt):
        raise Planned  # behind the effect, which has to go with it
