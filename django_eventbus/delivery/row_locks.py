"""How are the rows that many messages of one transaction need locked before the first of them runs?"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from operator import itemgetter

from django.db import connections

from django_eventbus.models.state import lock_states

from .deliveries import Delivery
from .state import StateRow


def lock_rows(deliveries: Iterable[Delivery], *, using: str) -> bool:
    """Lock the rows of stateful handlers in one order, as far as they are there; return whether several were named.

    Must run inside atomic. Two units that meet in the same rows then wait for each other, where they could deadlock.
    """
    if not connections[using].features.has_select_for_update:
        return False
    wanted: dict[tuple[str, str], tuple[StateRow, set[object]]] = {}
    for delivery in deliveries:
        state = delivery.handler.state
        if state is None or delivery.event is None or delivery.handler.handle_in is not None:
            continue
        name = state.model._meta.label, state.field.attname
        # The boundary to the project's own key: its error, or the column's, belongs to the run, which meets it again.
        with suppress(Exception):
            key = state.key_of(delivery.event)
            state.field.get_prep_value(key)
            wanted.setdefault(name, (state, set()))[1].add(key)
    if sum(len(values) for _, values in wanted.values()) < 2:
        return False
    for (_, field), (state, values) in sorted(wanted.items(), key=itemgetter(0)):
        lock_states(state.model, field=field, values=values, using=using)
    return True
