"""How is what a worker took carried out, each handler in its own way?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import TypeVar
from uuid import UUID

from django.db import DatabaseError, transaction
from msgspec import Struct

from django_eventbus.conf import BusConfig
from django_eventbus.delivery.deliveries import Broken, Received, Skipped
from django_eventbus.delivery.groups import HandlerGroup
from django_eventbus.delivery.handler import Handler
from django_eventbus.delivery.pipeline import receive
from django_eventbus.delivery.running import alias_of
from django_eventbus.models.unit import is_taken
from django_eventbus.transports.base import Record

from .arrivals import Arrivals, BrokenArrival, Unreadable, open_fenced
from .connections import refresh_connections
from .ownership import Claim
from .persistence import Attempt, Claimed, Persistence
from .reporting import Reporter
from .retries import FIRST_ROWS, Retries
from .run import Run
from .running import run_each, run_list, run_outside
from .trouble import Abandoned, Outage
from .unit import Ledger, Unit

T = TypeVar("T")
Work = TypeVar("Work", bound=Claimed)


class Mode(Enum):
    """Say how a handler runs."""

    SHARED = "shared"  # many runs in one transaction
    BATCH = "batch"  # one run for a list, in a transaction of its own
    OUTSIDE = "outside"  # atomic=False
    ASYNC = "async"  # on the event loop, if there is one


class Arrival(Struct, frozen=True, kw_only=True, eq=False):
    """A record that the broker delivered."""

    record: Record
    claim: Claim
    condemned: BaseException | None = None  # careful mode: it must not run, for it kills its process


class Waiting(Struct, frozen=True, kw_only=True, eq=False):
    """A lane of the retry table whose first row is due."""

    lane: UUID
    row: UUID  # the one that is due
    claim: Claim
    using: str  # database alias of the table
    handler: str  # stored name; empty for a record that could not be read
    key: Hashable = None  # of the lane in memory that it has to run in
    condemned: BaseException | None = None  # careful mode: its first row must not run


@dataclass(slots=True)
class Sorted:
    """What is to be carried out, by the way in which it is."""

    broken: list[BrokenArrival] = field(default_factory=list)
    shared: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))  # by alias
    batch: dict[Handler, list[Run]] = field(default_factory=lambda: defaultdict(list))
    outside: list[Run] = field(default_factory=list)
    on_loop: list[Run | Waiting] = field(default_factory=list)
    waiting: dict[str, list[Waiting]] = field(default_factory=lambda: defaultdict(list))  # by alias
    waiting_outside: list[Waiting] = field(default_factory=list)


class Turn:
    """Carry out arrivals and waiting lanes on the calling thread, until each is committed or is somebody else's."""

    def __init__(
        self,
        group: HandlerGroup,
        config: BusConfig,
        *,
        has_loop: bool,
        on_fenced: Callable[[Claim], None],
        reporter: Reporter,
        sleep: Callable[[float], bool],  # returns whether its caller has to end
    ) -> None:
        self.group = group
        self.config = config
        self.random = Random()
        self._has_loop = has_loop
        self._on_fenced = on_fenced
        self._reporter = reporter
        self.sleep = sleep

    def sort(self, items: Iterable[Arrival | Waiting]) -> Sorted:
        """Read records, and divide what is to be done by the way in which it is."""
        todo, skipped = Sorted(), []
        for item in items:
            if isinstance(item, Waiting):
                self._sort_waiting(item, todo)
                continue
            received = receive(item.record, self.group, self.config)
            match received:
                case Received(deliveries=deliveries):
                    for delivery in deliveries:
                        alias = alias_of(delivery.handler, self.config)
                        run = Run(delivery=delivery, claim=item.claim, using=alias, condemned=item.condemned)
                        self._sort_run(run, todo)
                case Broken():
                    todo.broken.append(BrokenArrival(broken=received, claim=item.claim))
                case Skipped():
                    skipped.append(received)
        if skipped:
            self._reporter.skip(skipped, group=self.group.name)
        return todo

    def carry_out(self, todo: Sorted) -> None:
        """Run everything but what belongs on the event loop; waiting lanes first, for they are older."""
        for alias, lanes in todo.waiting.items():
            self.settle(_parts(lanes, self.config.consumer.batch_size), alias, self._run_lanes)
        for lane in todo.waiting_outside:
            self.settle([[lane]], lane.using, self._run_lane_outside)
        for alias, runs in todo.shared.items():
            self.settle(_parts(runs, self.config.consumer.batch_size), alias, self._run_shared)
        for handler, runs in todo.batch.items():
            self.settle(_parts(runs, handler.batch or 1), runs[0].using, self._run_batch)
        for run in todo.outside:
            self.settle([[run]], run.using, self._run_outside)
        if todo.broken:
            self.settle([todo.broken], self.config.database, self._bury)

    def settle(self, parts: Iterable[Sequence[Work]], using: str, carry_out: Callable[[Attempt[Work]], None]) -> None:
        """Try parts until each is committed or its partition is somebody else's; raise Abandoned at the end."""
        for attempt in self.persistence(parts, using):
            with attempt:
                carry_out(attempt)
            if attempt.pause:
                if self.sleep(attempt.pause) and attempt.is_outage:
                    raise Abandoned
                refresh_connections()

    def persistence(self, parts: Iterable[Sequence[Work]], using: str) -> Persistence[Work]:
        """Make the plan of `settle`; the event loop follows it in its own way."""
        return Persistence(parts, using=using, on_fenced=self._on_fenced)

    def ledger_of_runs(self, attempt: Attempt[Run]) -> Ledger:
        """Return the books of runs that have just arrived."""
        return Arrivals(
            attempt.part, using=attempt.using, config=self.config, random=self.random, reporter=self._reporter
        )

    def ledger_of_lanes(self, attempt: Attempt[Waiting]) -> Retries:
        """Return the books of lanes that wait."""
        is_single = attempt.is_alone or any(lane.claim.is_careful for lane in attempt.part)
        share = max(1, self.config.consumer.batch_size // len(attempt.part))
        return Retries(
            {lane.lane: lane.claim for lane in attempt.part},
            using=attempt.using,
            group=self.group,
            config=self.config,
            random=self.random,
            reporter=self._reporter,
            limit=1 if is_single else min(FIRST_ROWS, share),
            condemned=attempt.condemned,
            first_condemned={lane.lane: lane.condemned for lane in attempt.part if lane.condemned is not None},
        )

    def look_at_run(self, attempt: Attempt[Run]) -> Run | None:
        """Return the run if its handler has to be called, without taking its message."""
        (run,) = attempt.part
        if run.condemned is not None:
            return None
        with looking(attempt.using):
            opened = open_fenced([run.fence], using=attempt.using, lanes=[run.delivery.lane])
            is_known = is_taken(attempt.using, () if run.delivery.handler.is_idempotent else run.delivery.inbox_keys)
        return None if is_known or run.delivery.lane in opened.waiting else run

    def look_at_lane(self, attempt: Attempt[Waiting]) -> Run | None:
        """Return the first run of a waiting lane if its handler has to be called."""
        ledger = self.ledger_of_lanes(attempt)
        with looking(attempt.using):
            ledger.open()
            run = next(ledger.admitted(), None)
        return None if run is None or run.condemned is not None else run

    def mode_of(self, handler: Handler | None) -> Mode:
        """Say how a handler runs; without a loop, async handlers run like others."""
        if handler is None or handler.handle_in is not None:
            return Mode.SHARED  # what another process runs is only handed over here
        if handler.is_async and self._has_loop:
            return Mode.ASYNC
        if not handler.is_atomic:
            return Mode.OUTSIDE
        return Mode.SHARED if handler.batch is None else Mode.BATCH

    def _sort_run(self, run: Run, todo: Sorted) -> None:
        match self.mode_of(run.delivery.handler):
            case Mode.SHARED:
                todo.shared[run.using].append(run)
            case Mode.BATCH:
                todo.batch[run.delivery.handler].append(run)
            case Mode.OUTSIDE:
                todo.outside.append(run)
            case Mode.ASYNC:
                todo.on_loop.append(run)

    def _sort_waiting(self, lane: Waiting, todo: Sorted) -> None:
        match self.mode_of(self.group.by_name(lane.handler)):
            case Mode.SHARED | Mode.BATCH:
                todo.waiting[lane.using].append(lane)
            case Mode.OUTSIDE:
                todo.waiting_outside.append(lane)
            case Mode.ASYNC:
                todo.on_loop.append(lane)

    def _run_shared(self, attempt: Attempt[Run]) -> None:
        run_each(self.ledger_of_runs(attempt), using=attempt.using, config=self.config)

    def _run_batch(self, attempt: Attempt[Run]) -> None:
        run_list(self.ledger_of_runs(attempt), using=attempt.using, config=self.config)

    def _run_outside(self, attempt: Attempt[Run]) -> None:
        run_outside(
            lambda: self.look_at_run(attempt),
            lambda: self.ledger_of_runs(attempt),
            using=attempt.using,
            config=self.config,
        )

    def _run_lanes(self, attempt: Attempt[Waiting]) -> None:
        run_each(self.ledger_of_lanes(attempt), using=attempt.using, config=self.config)

    def _run_lane_outside(self, attempt: Attempt[Waiting]) -> None:
        run_outside(
            lambda: self.look_at_lane(attempt.alone()),
            lambda: self.ledger_of_lanes(attempt.alone()),
            using=attempt.using,
            config=self.config,
        )

    def _bury(self, attempt: Attempt[BrokenArrival]) -> None:
        ledger = Unreadable(
            attempt.part, using=attempt.using, group=self.group.name, config=self.config, reporter=self._reporter
        )
        with Unit(ledger, using=attempt.using):
            pass


@contextmanager
def looking(using: str) -> Iterator[None]:
    """Read in a transaction of its own, before anything is decided."""
    try:
        with transaction.atomic(using=using):
            yield
    except DatabaseError as exc:
        raise Outage(str(exc)) from exc


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
