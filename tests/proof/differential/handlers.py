"""One event, and handlers that fail where the trace says so."""

from __future__ import annotations

from django.conf import settings

from django_eventbus.delivery.context import MessageContext
from django_eventbus.delivery.registry import handler
from django_eventbus.events.contract import event
from tests.proof.differential.gates import gates
from tests.proof.differential.models import Effect

FIRST, SECOND = "proof.first", "proof.second"


class Planned(Exception):
    """A failure of the trace."""


@event("proof.stepped", topic="/proof", domain="proof", key="key")
class Stepped:
    key: str
    number: int  # of the transaction that published it


@handler(Stepped, name=FIRST)
def first(event: Stepped, context: MessageContext) -> None:
    act(0, event, context)


if getattr(settings, "HANDLERS", 1) > 1:

    @handler(Stepped, name=SECOND)
    def second(event: Stepped, context: MessageContext) -> None:
        act(1, event, context)


def act(place: int, event: Stepped, context: MessageContext) -> None:
    Effect.objects.create(handler=context.handler, number=event.number)
    if gates.told.split(" ")[place] == "failed":
        raise Planned
