"""What does a step of a saga begin with: which instance, and which message?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from django_eventbus.models.saga import SagaStatus

from .compensation import Compensation


class ArmedTimeout(NamedTuple):
    """Be one timeout that waits; in JSON a pair."""

    event_id: UUID  # of the message that will bring it: a timeout that was armed anew has another one
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """Be one saga as it was stored. Read it under its lock, or compare its version when you write."""

    status: SagaStatus
    state: Any  # in the newest class; a step may change it in place, so it is no longer what was stored
    timeouts: Mapping[str, ArmedTimeout] = field(default_factory=lambda: MappingProxyType({}))  # by name
    compensations: tuple[Compensation, ...] = ()  # the oldest first

    @property
    def has_ended(self) -> bool:
        """Say whether nothing moves it any more."""
        return self.status.is_final


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout:
    """Be the message that a timeout is due."""

    name: str
    event_id: UUID  # compared with the armed one, so that one which was cancelled or armed anew does nothing


class Verdict(Enum):
    """Be what an operator demands of an instance; no method of the saga runs."""

    COMPLETE = "complete"
    COMPENSATE = "compensate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """Be one event that the step publishes, with the options of `publish()`."""

    event: Any
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    is_compensation: bool = False
