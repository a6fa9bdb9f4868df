"""How much waits in each table, and since when, found in the same time for ten rows as for ten million?

At most CAP rows of a table are looked at, through an index. What lies beyond is estimated by the server, or not at all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from django.db import connections, models

from .control import ControlFlag, ControlScope
from .dead_letter import DeadLetter, DeadLetterStatus
from .inbox import InboxMessage
from .outbox import HELD_UNTIL, OutboxLane, OutboxMessage, ParkedMessage, SentMessage
from .recurring import RecurringEvent
from .retry import RetryMessage
from .saga import SagaState
from .scheduled import ScheduledMessage

CAP = 10_000
ESTIMATE = "SELECT n_live_tup FROM pg_stat_user_tables WHERE relid = to_regclass(%s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """Say how many rows a table holds, and how old the oldest of those looked at is."""

    table: str
    rows: int  # looked at
    is_capped: bool  # there are more
    estimate: int | None  # where capped: what the server's statistics say
    oldest_at: datetime | None  # of what waits for a time: the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Say how the rows looked at divide: by bus, by handler, by exception."""

    table: str
    name: tuple[str, ...]
    rows: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneDepth:
    """Be a topic whose messages wait aside, whole or some of its keys, for one reason."""

    bus: str
    topic: str
    is_whole: bool  # the whole topic, not single keys
    reason: str  # the broker's name for the error
    is_held: bool  # until an operator's verdict
    count: int = 1  # keys; of a whole topic: shards


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringStanding:
    """Say how far one recurring event is."""

    bus: str
    name: str
    next_at: datetime | None
    last_at: datetime | None
    is_paused: bool
    failures: int  # attempts of the next occurrence that failed
    last_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Depths:
    """Be what stands in the tables of one database."""

    using: str
    tables: tuple[Depth, ...]
    parts: tuple[Part, ...]
    lanes: tuple[LaneDepth, ...]
    recurring: tuple[RecurringStanding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Say which rows of a table are looked at, and by what they are divided."""

    model: type[models.Model]
    order: tuple[str, ...]  # an index has it, the oldest first
    moment: str  # column
    by: tuple[str, ...] = ()
    only: models.Q | None = None
    is_per_bus: bool = False  # the index begins with the bus, so each is looked at by itself


SAMPLINGS = (
    Sampling(model=OutboxMessage, order=("id",), moment="created_at", by=("bus",)),
    Sampling(model=ScheduledMessage, order=("due_at", "id"), moment="due_at", by=("bus",), is_per_bus=True),
    Sampling(model=ParkedMessage, order=("lane_id", "id"), moment="created_at", by=("bus",)),
    Sampling(model=RetryMessage, order=("key",), moment="received_at", by=("handler",)),
    Sampling(
        model=DeadLetter,
        order=("id",),
        moment="failed_at",
        by=("bus", "handler", "reason"),
        only=models.Q(status=DeadLetterStatus.DEAD),
    ),
    Sampling(
        model=SagaState,
        order=("id",),
        moment="created_at",
        by=("bus", "saga"),
        only=models.Q(ended_at__isnull=True),
    ),
    Sampling(model=InboxMessage, order=("key",), moment="received_at"),
    Sampling(model=SentMessage, order=("sent_at",), moment="sent_at"),
)


def measure(using: str, *, cap: int = CAP) -> Depths:
    """Look at the tables of one database; takes no lock and reads at most `cap` rows of each."""
    flags = ControlFlag.objects.using(using).filter(scope=ControlScope.BUS, target="")
    buses = dict(flags.values_list("id", "bus"))
    found = [_sample(using, sampling, cap, buses) for sampling in SAMPLINGS]
    return Depths(
        using=using,
        tables=tuple(depth for depth, _ in found),
        parts=tuple(part for _, parts in found for part in parts),
        lanes=tuple(_lanes(using, buses)),
        recurring=tuple(_recurring(using)),
    )


def _sample(using: str, sampling: Sampling, cap: int, buses: Mapping[int, str]) -> tuple[Depth, list[Part]]:
    rows = sampling.model._default_manager.using(using).order_by(*sampling.order)
    if sampling.only is not None:
        rows = rows.filter(sampling.only)
    table = sampling.model._meta.db_table
    groups: dict[tuple[str, ...], list[datetime]] = defaultdict(list)
    is_capped = False
    for part in [rows.filter(bus=number) for number in buses] if sampling.is_per_bus else [rows]:
        found = list(part.values_list(sampling.moment, *sampling.by)[: cap + 1])
        is_capped |= len(found) > cap
        for moment, *values in found[:cap]:
            groups[tuple(str(buses.get(value, value)) for value in values)].append(moment)
    depth = Depth(
        table=table,
        rows=sum(map(len, groups.values())),
        is_capped=is_capped,
        estimate=_estimate(using, table) if is_capped and sampling.only is None else None,
        oldest_at=min(map(min, groups.values()), default=None),
    )
    parts = [
        Part(table=table, name=name, rows=len(moments), oldest_at=min(moments))
        for name, moments in sorted(groups.items())
        if name
    ]
    return depth, parts


def _estimate(using: str, table: str) -> int | None:
    connection = connections[using]
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute(ESTIMATE, [table])
        row = cursor.fetchone()
    return int(row[0]) if row and row[0] else None


def _lanes(using: str, buses: Mapping[int, str]) -> list[LaneDepth]:
    """Name the topics and keys that wait; a topic has a row in each shard."""
    rows = OutboxLane.objects.using(using).order_by("id")
    columns = rows.values_list("bus", "topic", "whole", "reason", "available_at")
    lanes: Counter[LaneDepth] = Counter(
        LaneDepth(
            bus=buses.get(bus, str(bus)),
            topic=topic,
            is_whole=is_whole,
            reason=reason,
            is_held=available_at >= HELD_UNTIL,
        )
        for bus, topic, is_whole, reason, available_at in columns[:CAP]
    )
    return [replace(lane, count=count) for lane, count in lanes.items()]


def _recurring(using: str) -> list[RecurringStanding]:
    rows = RecurringEvent.objects.using(using).order_by("bus", "name")[:CAP]
    return [
        RecurringStanding(
            bus=row.bus,
            name=row.name,
            next_at=row.next_at,
            last_at=row.last_at,
            is_paused=row.is_paused,
            failures=row.failures,
            last_error=row.last_error,
        )
        for row in rows
    ]
