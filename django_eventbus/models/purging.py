"""Which rows may be deleted, and how do they go without one long transaction?

Every verb walks its table once, in the order of an index, and yields after each chunk how many rows went: what was
deleted is never visited again, however many dead entries the index still holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import models, transaction

from .dead_letter import DeadLetter, DeadLetterStatus
from .inbox import FOREIGN, InboxMessage
from .operator_action import OperatorAction
from .outbox import SentMessage
from .saga import SagaState
from .saga_step import SagaHistory

CHUNK = 5000  # rows looked at in one transaction
CLOSED = (DeadLetterStatus.REPLAYED, DeadLetterStatus.DISCARDED)


def purge_inbox(using: str, *, before: datetime, is_dry_run: bool = False, chunk: int = CHUNK) -> Iterator[int]:
    """Forget messages that were taken before a moment; a later delivery of one of them would be handled again.

    Keys of UUIDv7 ids are in the order of time, so everything above the moment is left alone. Their time is that of the
    event, which may be long before its delivery: `received_at` decides.
    """
    bound = UUID(int=int(before.timestamp() * 1000) << 80)
    rows = InboxMessage.objects.using(using)
    old = models.Q(received_at__lt=before)
    yield from _walk(rows.filter(key__lt=bound), "key", old, is_dry_run=is_dry_run, chunk=chunk)
    yield from _walk(rows.filter(key__gte=UUID(int=FOREIGN)), "key", old, is_dry_run=is_dry_run, chunk=chunk)


def purge_archive(
    using: str, *, bus: int, before: datetime, is_dry_run: bool = False, chunk: int = CHUNK
) -> Iterator[int]:
    """Delete archived events of a bus that were sent before a moment."""
    sent = SentMessage.objects.using(using).filter(sent_at__lt=before)
    yield from _walk(sent, "sent_at", models.Q(bus=bus), is_dry_run=is_dry_run, chunk=chunk)


def purge_dead_letters(
    using: str, *, bus: str, before: datetime, is_dry_run: bool = False, chunk: int = CHUNK
) -> Iterator[int]:
    """Delete dead letters of a bus on which operators have decided, none of them after a moment; open ones stay."""
    acts = OperatorAction.objects.using(using).filter(dead_letter_id=models.OuterRef("id"), acted_at__gte=before)
    old = models.Q(bus=bus, failed_at__lt=before) & ~models.Q(models.Exists(acts))
    for status in CLOSED:
        closed = DeadLetter.objects.using(using).filter(status=status)
        yield from _walk(closed, "id", old, is_dry_run=is_dry_run, chunk=chunk)


def purge_sagas(
    using: str,
    *,
    bus: str,
    before: datetime,
    only: str | None = None,
    but: Collection[str] = (),
    is_dry_run: bool = False,
    chunk: int = CHUNK,
) -> Iterator[int]:
    """Delete sagas of a bus that ended before a moment, with their history; those of one name, or all but some names.

    What still runs or compensates stays, however old it is.
    """
    ended = SagaState.objects.using(using).filter(bus=bus, ended_at__lt=before)
    ended = ended.exclude(saga__in=but) if only is None else ended.filter(saga=only)
    if is_dry_run:
        yield ended.count()
        return
    while ids := list(ended.order_by("ended_at").values_list("id", flat=True)[:chunk]):
        with transaction.atomic(using=using):
            SagaHistory.objects.using(using).filter(instance_id__in=ids).delete()
            SagaState.objects.using(using).filter(id__in=ids).delete()
        yield len(ids)


def _walk(rows: models.QuerySet[Any], column: str, doomed: models.Q, *, is_dry_run: bool, chunk: int) -> Iterator[int]:
    ahead = rows
    while True:
        edge = list(ahead.order_by(column).values_list(column, flat=True)[chunk - 1 : chunk])
        part = ahead.filter(**{f"{column}__lte": edge[0]}) if edge else ahead
        going = part.filter(doomed)
        yield going.count() if is_dry_run else going.delete()[0]
        if not edge:
            return
        ahead = rows.filter(**{f"{column}__gt": edge[0]})
