"""What does a scenario say of itself?

Each has an act, which is killed at every point in turn and then done again from its start, as a service manager would;
what has to be there before; and what must have come of it in the end, beyond the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django_eventbus.transports.base import FailureKind
from tests.proof.sweep.events import Advanced, Awaited, Handed, Listed, Opened, Stepped, Tallied

Event = type[Stepped | Listed | Awaited | Handed | Tallied | Opened | Advanced]
Steps = tuple[tuple[Event, str, int], ...]  # event class, key, how many


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Say what is done, and what has to come of it."""

    act: Callable[[Scenario], None]
    prepare: Callable[[Scenario], None] = lambda scenario: None
    steps: Steps = ()  # what is published
    settings: dict[str, Any] = field(default_factory=dict)  # of the bus
    refused: tuple[tuple[str, int, FailureKind, int], ...] = ()  # key, number, how, how often
    is_on_kafka: bool = False  # the mock cluster carries; its records are judged, and no handler runs
    delay: float | None = None  # seconds that events wait for their time
    check: Callable[[], Iterable[str]] = lambda: ()  # names what else is wrong
    timeouts: int = 0  # of sagas, that fire
    unreadable: int = 0  # records that no handler can get
    is_mended: bool = False  # dead letters end replayed, and held keys flow
    is_discarded: bool = False  # dead letters end discarded, and held keys flow
    is_forgotten: bool = False  # the inbox ends empty
