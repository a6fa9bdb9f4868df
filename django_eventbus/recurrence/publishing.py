"""How do the events of one occurrence get into the outbox, with ids that no second attempt changes?"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django_eventbus.conf import BusConfig
from django_eventbus.delivery.cascades import events_in
from django_eventbus.delivery.dispatch import publish
from django_eventbus.outbox.context import EMPTY, exactly

from .occurrence import occurrence_id
from .registry import Recurring


def publish_occurrence(config: BusConfig, declared: Recurring, *, at: datetime) -> list[UUID]:
    """Call the function for an occurrence and publish what it returns; return the ids.

    Must run inside atomic on the bus's database. Raises what the function raises, and NotAnEvent for what it returns
    and is none.
    """
    with exactly(EMPTY):
        made = events_in(declared.call(at), of=declared.name)
        ids = [occurrence_id(config.source, declared.name, at, number) for number in range(len(made))]
        return [
            published
            for event, event_id in zip(made, ids, strict=True)
            for published in publish(config, (event,), event_id=event_id)
        ]
