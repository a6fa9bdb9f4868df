"""How does a handler write down what it does, and fail where the plan says so?"""

from __future__ import annotations

from django_eventbus.delivery.context import MessageContext
from tests.proof.sweep import plan
from tests.proof.sweep.models import Effect


def note(context: MessageContext, *, key: str, number: int) -> None:
    name = context.handler
    Effect.objects.create(handler=name, event=context.event_name, event_id=context.message_id, key=key, number=number)
    if plan.fails(name, key, number, attempt=context.attempt):
        raise plan.Planned(f"{name} {key}/{number}")
