"""Two handlers that write down what each saw before it, and fail by a plan."""

from __future__ import annotations

import os
import signal

from django.db import connection

from django_eventbus.delivery.context import MessageContext
from django_eventbus.delivery.registry import handler
from django_eventbus.events.contract import external_event
from tests.history import chaos
from tests.history.plan import POLICY, Planned, fails

TOPIC = os.environ.get("HISTORY_TOPIC", "history")
DEADLY = os.environ.get("HISTORY_DEADLY", "")  # key/number of a message that kills its process
FREEZE = os.environ.get("HISTORY_FREEZE", "")  # key/number of a message at which its process freezes

EFFECT = """
INSERT INTO history_effect (handler, key, number, previous, attempt, owner)
SELECT %(handler)s, %(key)s, %(number)s, coalesce(max(number), -1), %(attempt)s, %(owner)s
FROM history_effect WHERE handler = %(handler)s AND key = %(key)s
"""


@external_event("history.counted", topic=f"/{TOPIC}", domain="history")
class Counted:
    key: str
    number: int


@handler(Counted, name="history.a", retry=POLICY)
def first(event: Counted, context: MessageContext) -> None:
    write("a", event, context)


@handler(Counted, name="history.b", retry=POLICY)
def second(event: Counted, context: MessageContext) -> None:
    write("b", event, context)


def write(name: str, event: Counted, context: MessageContext) -> None:
    chaos.point("handler" if context.attempt == 1 else "retry handler")
    match f"{event.key}/{event.number}":
        case place if place == DEADLY:
            os._exit(9)
        case place if place == FREEZE:
            os.kill(os.getpid(), signal.SIGSTOP)
    if fails(name, event.key, event.number, context.attempt):
        raise Planned
    values: dict[str, str | int] = {
        "handler": name,
        "key": event.key,
        "number": event.number,
        "attempt": context.attempt,
        "owner": f"{os.getpid()}",
    }
    with connection.cursor() as cursor:
        cursor.execute(EFFECT, values)
