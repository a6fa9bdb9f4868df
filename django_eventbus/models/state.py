"""How is a row of a project's own model kept by one writer at a time?"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from django.db import models

State = TypeVar("State", bound=models.Model)


def lock_state(model: type[State], *, field: str, value: object, using: str) -> State:
    """Return the row whose unique `field` has this value, locked, and made where there is none; inside atomic only.

    Of two writers that make the same row, the second waits for the first one's commit and gets its row.
    """
    rows = model._base_manager.using(using).select_for_update()  # a default manager may hide rows
    row, _ = rows.get_or_create(defaults=None, **{field: value})
    return row


def lock_states(model: type[models.Model], *, field: str, values: Collection[object], using: str) -> None:
    """Lock the rows of these values that are there, in one order: else two that want the same ones could deadlock."""
    rows = model._base_manager.using(using).filter(**{f"{field}__in": values}).order_by(field)
    list(rows.select_for_update().values_list(field))


def save_state(row: models.Model, *, using: str) -> None:
    """Write a locked row back; one that was deleted meanwhile stays deleted."""
    if row.pk is not None:
        row.save(using=using, force_update=True)
