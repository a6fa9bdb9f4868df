"""Handlers of every kind, which write down what they were given and where it lay."""

from __future__ import annotations

from django.db import connection

from django_eventbus.delivery.context import MessageContext
from django_eventbus.delivery.registry import handler
from django_eventbus.delivery.retry import RetryPolicy
from django_eventbus.exceptions import Reject
from tests.proof.fuzz.canonical import canonical, digest
from tests.proof.fuzz.events import Measured, OrderPlaced, Priced, Renamed

EFFECT = """
INSERT INTO fuzz_effect (handler, no, position, source, message_id, digest)
SELECT * FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::text[], %s::text[], %s::uuid[])
"""
SOON = RetryPolicy(max_attempts=3, delays=(0.02,))


class NotYet(Exception):
    """What was planned to fail at its first attempt."""


@handler(OrderPlaced, name="fuzz.keep", batch=200)
def keep(events: list[OrderPlaced], contexts: list[MessageContext]) -> None:
    write(list(zip(events, contexts, strict=True)))


@handler(Renamed, name="fuzz.rename", batch=50)
def rename(events: list[Renamed], contexts: list[MessageContext]) -> None:
    write(list(zip(events, contexts, strict=True)))


@handler(Measured, name="fuzz.measure")
def measure(event: Measured, context: MessageContext) -> None:
    write([(event, context)])


@handler(Measured, name="fuzz.watch", ordered=False)
def watch(event: Measured, context: MessageContext) -> None:
    if event.value < 0:
        raise Reject("below zero")
    write([(event, context)])


@handler(Priced, name="fuzz.price", versions=[2], retry=SOON)
def price(event: Priced, context: MessageContext) -> None:
    write([(event, context)])
    if event.sku.startswith("later") and context.attempt == 1:
        raise NotYet  # behind the effect, which has to go with it


def write(runs: list[tuple[object, MessageContext]]) -> None:
    columns = zip(
        *(
            (c.handler, c.partition, c.offset, c.source, c.message_id, digest(canonical(event)).hex)
            for event, c in runs
        ),
        strict=True,
    )
    with connection.cursor() as cursor:
        cursor.execute(EFFECT, [list(column) for column in columns])
