"""Which partitions may this worker work on, and since which epoch?"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import NamedTuple

from django.db import DatabaseError, OperationalError, connections, transaction

from django_eventbus.conf import BusConfig
from django_eventbus.delivery.groups import HandlerGroup
from django_eventbus.models import PartitionEpoch, RetryMessage
from django_eventbus.models.unit import read_committed
from django_eventbus.transports.base import TopicPartition

from .offsets import Positions

logger = logging.getLogger(__name__)

PATIENCE = timedelta(milliseconds=200)  # one wait for a predecessor; polling goes on between two of them
REFUSED_AGAIN_AFTER = 5.0
LOST_AGAIN_AFTER = 1.0


class Fence(NamedTuple):
    """The row of a partition on one database alias, and the epoch in which it may be worked on."""

    partition_id: int
    epoch: int


class Claim:
    """One partition that this worker owns, in one epoch on every database alias of its group.

    Written by the thread that owns the consumer; other threads read, and may end it. A partition that is lost and
    taken again is another claim, so whatever comes back late for the old one is recognised.
    """

    __slots__ = (
        "begun",
        "careful_for",
        "careful_until",
        "end",
        "fences",
        "has_no_due",
        "is_current",
        "place",
        "positions",
        "was_clean",
    )

    def __init__(
        self, place: TopicPartition, *, fences: Mapping[str, Fence], start: int | None, was_clean: bool
    ) -> None:
        self.place = place
        self.fences = fences
        self.positions = Positions(start)
        self.was_clean = was_clean
        self.is_current = True  # False: revoked, lost or fenced; nothing more is begun for it
        self.begun: set[str] = set()  # what is counted as begun in careful mode, and has not ended
        self.careful_for = 0  # messages that the dead predecessor may have had in flight
        self.careful_until: int | None = None  # end of the log when the partition was taken: later ones are innocent
        self.has_no_due = False  # nothing of it in the retry table was due when somebody looked
        self.end: int | None = None  # offset behind the last record, when it was reached

    def begin_at(self, start: int | None) -> None:
        """Expect records from this offset on."""
        self.positions = Positions(start)

    @property
    def is_careful(self) -> bool:
        """Say whether a message of this partition may have killed the last owner."""
        return self.careful_for > 0


class HandlersMissing(Exception):
    """The group has handlers that this process does not know."""


class Ownership:
    """Take partitions outside the rebalance callback, and give them back. Belongs to one thread."""

    def __init__(
        self,
        group: HandlerGroup,
        config: BusConfig,
        *,
        owner: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.claims: dict[TopicPartition, Claim] = {}
        self.aliases = group_aliases(group, config)
        self._group = group
        self._config = config
        self._owner = owner
        self._clock = clock
        timeouts = [h.timeout for h in group.handlers if h.timeout is not None and h.handle_in is None]
        self._grace = max([config.consumer.grace, *timeouts]).total_seconds()  # a predecessor may be in its handler
        self._wanted: dict[TopicPartition, float] = {}  # assigned, not taken -> when to try next
        self._since: dict[TopicPartition, float] = {}  # first try: after GRACE the predecessor is evicted

    def want(self, place: TopicPartition, *, delay: float = 0.0) -> None:
        """Take this partition once `delay` seconds are over."""
        self._wanted[place] = self._clock() + delay

    def forget(self, place: TopicPartition) -> Claim | None:
        """Stop working on a partition; return the claim that ended, where there was one."""
        self._wanted.pop(place, None)
        self._since.pop(place, None)
        claim = self.claims.pop(place, None)
        if claim is not None:
            claim.is_current = False
        return claim

    def wanted(self) -> set[TopicPartition]:
        """Return what is assigned but not taken."""
        return set(self._wanted)

    def seconds_to_next(self) -> float | None:
        """Return how long nothing has to be taken; None where nothing waits to be."""
        return max(0.0, min(self._wanted.values()) - self._clock()) if self._wanted else None

    def take_due(self) -> list[Claim]:
        """Take what is due; waits at most once for a predecessor, so that its caller can poll in between."""
        taken: list[Claim] = []
        now = self._clock()
        # Who has waited longest comes first: one frozen predecessor must not keep this worker from all other places.
        for _, place in sorted((at, place) for place, at in self._wanted.items() if at <= now):
            try:
                claim = self._take(place)
            except HandlersMissing as exc:
                logger.error("partition not taken group=%s place=%s/%s: %s", self._group.name, *place, exc)
                self.want(place, delay=REFUSED_AGAIN_AFTER)
                continue
            except DatabaseError as exc:
                if _is_lock_timeout(exc):
                    self._evict_when_due(place)
                    self.want(place)
                    return taken
                logger.warning("database does not answer group=%s error=%s", self._group.name, str(exc)[:200])
                self.close_broken()
                self.want(place, delay=LOST_AGAIN_AFTER)
                return taken
            self._wanted.pop(place)
            self._since.pop(place, None)
            self.claims[place] = claim
            taken.append(claim)
        return taken

    def want_abandoned(self) -> None:
        """Take partitions of topics that the group no longer reads, so that what still waits for them is not stuck."""
        for alias in self.aliases:
            rows = PartitionEpoch.objects.using(alias)
            for row in rows.abandoned(self._group.name, topics=self._group.topics):
                place = TopicPartition(row.topic, row.number)
                if place not in self.claims:
                    self.want(place)

    def is_abandoned(self, place: TopicPartition) -> bool:
        """Say whether a partition only has deliveries that wait, and no broker behind it."""
        return place.topic not in self._group.topics

    def note_progress(self, claims: Collection[Claim]) -> None:
        """Write low-water marks to the partitions' rows, on every alias."""
        for alias in self.aliases:
            for claim in claims:
                if claim.positions.low_water is not None:
                    row, epoch = claim.fences[alias]
                    PartitionEpoch.objects.using(alias).advance(row, epoch=epoch, low_water=claim.positions.low_water)

    def give_back(self, claim: Claim) -> None:
        """Leave a partition clean: nothing of it is running."""
        for alias, (row, epoch) in claim.fences.items():
            rows = PartitionEpoch.objects.using(alias)
            rows.give_back(row, epoch=epoch, low_water=claim.positions.low_water)

    def close_broken(self) -> None:
        """Close connections that no longer work; the next use opens new ones."""
        for alias in self.aliases:
            connections[alias].close_if_unusable_or_obsolete()
            if connections[alias].connection is not None and not connections[alias].in_atomic_block:
                connections[alias].close()

    def _take(self, place: TopicPartition) -> Claim:
        self._since.setdefault(place, self._clock())
        fences: dict[str, Fence] = {}
        low_waters: list[int | None] = []
        was_clean = True
        for alias in self.aliases:
            rows = PartitionEpoch.objects.using(alias)
            with transaction.atomic(using=alias):
                read_committed(alias)
                row = rows.place(self._group.name, topic=place.topic, number=place.number)
                rows.lock(row, patience=PATIENCE)
                self._refuse_missing(rows.get(id=row))
                taken = rows.raise_epoch(row, owner=self._owner, handlers=self._names_on(alias))
                RetryMessage.objects.using(alias).heal(row)
            fences[alias] = Fence(row, taken.epoch)
            low_waters.append(taken.low_water)
            was_clean = was_clean and taken.was_clean
        known = [mark for mark in low_waters if mark is not None]
        start = min(known) if len(known) == len(low_waters) else None
        claim = Claim(place, fences=fences, start=start, was_clean=was_clean)
        if not was_clean:
            claim.careful_for = self._config.consumer.max_in_flight
        return claim

    def _names_on(self, alias: str) -> list[str]:
        return [h.name for h in self._group.handlers if (h.using or self._config.database) == alias]

    def _refuse_missing(self, row: PartitionEpoch) -> None:
        missing = [n for n in row.handlers if self._group.by_name(n) is None and n not in self._group.retired]
        if missing:
            raise HandlersMissing(
                f"the group has handlers that this process does not know: {', '.join(missing)}. Taking the partition "
                f"would lose their events. Start this worker with the code that has them, or, if they are gone on "
                f"purpose, declare in an AppConfig: eventbus_retired_handlers = {tuple(missing)!r}"
            )

    def _evict_when_due(self, place: TopicPartition) -> None:
        if self._clock() - self._since[place] < self._grace:
            return
        for alias in self.aliases:
            rows = PartitionEpoch.objects.using(alias)
            try:
                with transaction.atomic(using=alias):
                    row = rows.place(self._group.name, topic=place.topic, number=place.number)
                    evicted = rows.evict(row)
            except DatabaseError as exc:
                # Another role's session, mostly: this partition waits for it, and the others of this worker go on.
                logger.error(
                    "frozen owner not evicted place=%s/%s error=%s; run all workers under one database role",
                    *(*place, str(exc)[:200]),
                )
                self.close_broken()
                continue
            if evicted:
                logger.warning("evicted %s sessions of a frozen owner place=%s/%s", evicted, *place)


def group_aliases(group: HandlerGroup, config: BusConfig) -> tuple[str, ...]:
    """Return the database aliases of a group: the bus's own first, then those that its handlers name."""
    named = sorted({handler.using or config.database for handler in group.handlers} - {config.database})
    return (config.database, *named)


def _is_lock_timeout(error: DatabaseError) -> bool:
    return isinstance(error, OperationalError) and getattr(error.__cause__, "sqlstate", None) == "55P03"
