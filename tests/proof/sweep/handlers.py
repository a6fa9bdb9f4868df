"""Handlers that write down what they do, and fail by the plan."""

from __future__ import annotations

from asgiref.sync import sync_to_async

from django_eventbus.delivery.context import MessageContext
from django_eventbus.delivery.registry import handler
from django_eventbus.delivery.retry import RetryPolicy
from django_eventbus.delivery.stateful import stateful_handler
from tests.proof.sweep import plan
from tests.proof.sweep.events import Awaited, Echoed, Handed, Listed, Stepped, Tallied
from tests.proof.sweep.models import Tally
from tests.proof.sweep.noting import note

POLICY = RetryPolicy(max_attempts=plan.ATTEMPTS, delays=(0.05,), jitter=0)


@handler(Stepped, name=plan.ORDERED, retry=POLICY)
def ordered(event: Stepped, context: MessageContext) -> Echoed | None:
    write(event, context)
    return Echoed(key=event.key, number=event.number) if event.key == "echo" else None


@handler(Stepped, name=plan.SIBLING, retry=POLICY)
def sibling(event: Stepped, context: MessageContext) -> None:
    write(event, context)


@handler(Stepped, name=plan.HOLDING, retry=POLICY, on_dead_letter="hold_key")
def holding(event: Stepped, context: MessageContext) -> None:
    write(event, context)


@handler(Echoed, name=plan.ECHO, retry=POLICY)
def echo(event: Echoed, context: MessageContext) -> None:
    write(event, context)


@handler(Listed, name=plan.LISTED, retry=POLICY, batch=10)
def listed(events: list[Listed], contexts: list[MessageContext]) -> None:
    for event, context in zip(events, contexts, strict=True):
        write(event, context)


@handler(Awaited, name=plan.AWAITED, retry=POLICY)
async def awaited(event: Awaited, context: MessageContext) -> None:
    await sync_to_async(write)(event, context)


@handler(Handed, name=plan.HANDED, retry=POLICY, handle_in="celery", timeout=2.0)  # sent again after it
def handed(event: Handed, context: MessageContext) -> None:
    write(event, context)


@stateful_handler(Tallied, key="key", state=Tally, state_key="key", name=plan.TALLY, retry=POLICY)
def tally(event: Tallied, state: Tally, context: MessageContext) -> None:
    state.count += 1
    write(event, context)


def write(event: Stepped | Echoed | Listed | Awaited | Handed | Tallied, context: MessageContext) -> None:
    note(context, key=event.key, number=event.number)
