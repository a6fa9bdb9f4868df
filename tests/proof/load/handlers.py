"""The handler of the load: one row in its transaction; now and then it fails once, so that keys wait for a retry."""

from __future__ import annotations

from django.db import connection

from django_eventbus.delivery.context import MessageContext
from django_eventbus.delivery.registry import handler
from django_eventbus.delivery.retry import RetryPolicy
from tests.proof.load import leaks
from tests.proof.load.events import Stepped

FAILS_EVERY = 100
EFFECT = "INSERT INTO load_effect (event_id, key, number, attempt) VALUES (%s, %s, %s, %s)"


class Planned(Exception):
    """A failure of the plan."""


@handler(Stepped, name="load.ordered", retry=RetryPolicy(max_attempts=5, delays=(0.2,), jitter=0))
def ordered(event: Stepped, context: MessageContext) -> None:
    leaks.drip()
    with connection.cursor() as cursor:
        cursor.execute(EFFECT, [context.message_id, event.key, event.number, context.attempt])
    if (event.number + int(event.key[1:])) % FAILS_EVERY == 0 and context.attempt == 1:
        raise Planned  # behind the effect, which has to go with it
