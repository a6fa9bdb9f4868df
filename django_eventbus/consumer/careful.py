"""How is a message found that kills its process?

After an unclean end messages run one at a time, and each is counted in a committed row before it runs. Who was begun
three times and never ended is made a dead letter instead of a fourth crash. The normal path counts nothing.
"""

from __future__ import annotations

from typing import TypeVar

from django.db import transaction
from msgspec.structs import replace

from django_eventbus.models import PartitionEpoch

from .failing import STARTS_BEFORE_DEATH, ProcessDied
from .trouble import Fenced
from .turn import Arrival, Waiting

Item = TypeVar("Item", bound=Arrival | Waiting)


def begin(item: Item, *, using: str) -> Item:
    """Count that a message is begun, where its partition is careful; condemn it if it was begun too often.

    `using` is the bus's own alias. Raises Fenced where the partition has another owner.
    """
    if not item.claim.is_careful:
        return item
    row, epoch = item.claim.fences[using]
    with transaction.atomic(using=using):
        starts = PartitionEpoch.objects.using(using).count_start(row, epoch=epoch, what=_name(item))
    if starts is None:
        raise Fenced([row])
    item.claim.begun.add(_name(item))
    if starts <= STARTS_BEFORE_DEATH:
        return item
    return replace(item, condemned=ProcessDied(f"begun {starts - 1} times, and never ended: {_name(item)}"))


def end(item: Arrival | Waiting, *, using: str) -> None:
    """Forget a count: the message has ended, and its process lives."""
    name = _name(item)
    if name not in item.claim.begun:
        return
    row, epoch = item.claim.fences[using]
    with transaction.atomic(using=using):
        PartitionEpoch.objects.using(using).forget_start(row, epoch=epoch, what=name)
    item.claim.begun.discard(name)


def _name(item: Arrival | Waiting) -> str:
    return str(item.record.offset) if isinstance(item, Arrival) else str(item.row)
