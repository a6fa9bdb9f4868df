"""The services that trips ask: each books, refuses or keeps silent, and undoes what it booked."""

from __future__ import annotations

from django_eventbus.bus import publish
from django_eventbus.delivery.context import MessageContext
from django_eventbus.delivery.registry import handler
from tests.history.plan import POLICY
from tests.history.trips.events import ANSWERS, Asked, Undo, Undone
from tests.history.trips.fates import Kind, answer_to, befall
from tests.history.trips.log import write_effect


@handler(Asked, name="trip.service", retry=POLICY)
def serve(event: Asked, context: MessageContext) -> None:
    kind, delay = answer_to(event.trip, event.part, event.number)
    write_effect(event.trip, event.part, event.number, kind, context)
    if kind is not Kind.SILENT:
        answer = ANSWERS[event.part](trip=event.trip, number=event.number, is_done=kind is Kind.BOOKED)
        publish(answer, delay=delay or None)
    befall(f"ask {event.part}/{event.number}", event.trip, context, doomed=15)


@handler(Undo, name="trip.undoing", retry=POLICY)
def undo(event: Undo, context: MessageContext) -> Undone:
    write_effect(event.trip, event.part, event.number, Kind.UNDONE, context)
    befall(f"undo {event.part}/{event.number}", event.trip, context, doomed=120)
    return Undone(trip=event.trip, part=event.part, number=event.number)
