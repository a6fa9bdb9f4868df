"""Which occurrence is published now, and under which ids?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Literal
from uuid import UUID

from .schedule import EPOCH, Schedule

Missed = Literal["latest", "skip", "all"]

_MILLISECOND = timedelta(milliseconds=1)
_VERSION_AND_VARIANT = (7 << 76) | (2 << 62)
_FREE = ~((0xF << 76) | (0x3 << 62)) & ((1 << 80) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Say what to do about a schedule that has become due."""

    at: datetime | None  # the occurrence to publish; None: all that are due came too late
    missed_since: datetime | None  # the first of those that are not published
    next_at: datetime | None  # None: there will be no other


def plan(schedule: Schedule, *, due_at: datetime, now: datetime, missed: Missed, patience: timedelta) -> Plan:
    """Choose among the occurrences from `due_at` to `now`; one is skipped where it comes later than `patience`.

    A relay that takes over from a frozen one comes that late without having missed anything.
    """
    if missed == "all":
        return Plan(at=due_at, missed_since=None, next_at=schedule.after(due_at))
    latest = schedule.latest(first=due_at, until=now)
    is_too_late = missed == "skip" and now - latest > patience
    return Plan(
        at=None if is_too_late else latest,
        missed_since=due_at if is_too_late or latest > due_at else None,
        next_at=schedule.after(now),
    )


def occurrence_id(source: str, name: str, at: datetime, number: int) -> UUID:
    """Return the id of an event of an occurrence: the same whoever publishes it, a UUIDv7 of the occurrence's time."""
    said = "\0".join((source, name, at.astimezone(UTC).isoformat(), str(number)))
    digest = int.from_bytes(blake2b(said.encode(), digest_size=10).digest())
    milliseconds = (at - EPOCH) // _MILLISECOND & 0xFFFFFFFFFFFF
    return UUID(int=milliseconds << 80 | digest & _FREE | _VERSION_AND_VARIANT)
