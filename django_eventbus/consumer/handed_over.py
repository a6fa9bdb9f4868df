"""How does a message run that was handed over to another process, so that its effects are applied once all the same?

The row in `eventbus_retry` is locked while the handler runs and is deleted in the handler's transaction: of several
tasks for one message, one does the work. A process that dies leaves the row, and the owner of the partition sends
another task after the handler's timeout.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction

from django_eventbus.conf import BusConfig
from django_eventbus.delivery.groups import HandlerGroup
from django_eventbus.delivery.handler import Handler
from django_eventbus.delivery.handover import Task, patience
from django_eventbus.models import PartitionEpoch, RetryMessage
from django_eventbus.models.retry import Begun, WaitingDelivery
from django_eventbus.models.unit import keep_savepoint, open_unit
from django_eventbus.transports.base import TopicPartition

from .connections import refresh_connections
from .failing import STARTS_BEFORE_DEATH, ProcessDied
from .ownership import Claim, Fence
from .persistence import Attempt
from .reporting import Reporter
from .retries import Retries
from .run import Run
from .trouble import Abandoned
from .turn import Mode, Turn, Waiting

logger = logging.getLogger(__name__)


class SurvivedStarts:
    """Remember starts that an outage ended and this process outlived: no deaths. `_lock` protects `_owed`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owed: list[Task] = []

    def add(self, task: Task) -> None:
        with self._lock:
            self._owed.append(task)

    def take_back(self, using: str) -> None:
        """Take those of one database off the counts of their rows; what it does not let through stays remembered."""
        with self._lock:
            owed = [task for task in self._owed if task.using == using]
            self._owed = [task for task in self._owed if task.using != using]
        left = list(owed)
        try:
            for task in owed:
                with transaction.atomic(using=task.using):
                    if RetryMessage.objects.using(task.using).forget_start(task.key, attempt=task.attempt):
                        left.remove(task)
        finally:
            with self._lock:
                self._owed += left


survived_starts = SurvivedStarts()


def run_task(task: Task, *, group: HandlerGroup | None, config: BusConfig) -> None:
    """Run the handler of a task; do nothing where its message is handled, under way, or not for this process."""
    handler = None if group is None else group.by_name(task.handler)
    if group is None or handler is None or handler.handle_in is None:
        # An older or a newer deployment: its row must not become a dead letter for that.
        logger.warning("task left alone handler=%s: this process does not run it", task.handler)
        return
    refresh_connections()
    survived_starts.take_back(task.using)
    rows = RetryMessage.objects.using(task.using)
    with transaction.atomic(using=task.using):
        begun = rows.begin(task.key, attempt=task.attempt, timeout=patience(handler, sends=0))
    if begun is None:
        return
    turn = _TaskTurn(task, handler, group, config)
    try:
        turn.carry_out(turn.sort([_waiting(task, begun)]))
    except Abandoned:
        survived_starts.add(task)
        logger.warning("task given up during an outage handler=%s: it is sent again", task.handler)


def _waiting(task: Task, begun: Begun) -> Waiting:
    place = PartitionEpoch.objects.using(task.using).get(id=begun.partition_id)
    claim = Claim(
        TopicPartition(place.topic, place.number),
        fences={task.using: Fence(begun.partition_id, place.epoch)},  # tells the partition; the row's lock is the fence
        start=None,
        was_clean=True,
    )
    is_deadly = begun.starts > STARTS_BEFORE_DEATH
    return Waiting(
        lane=begun.lane,
        row=task.key,
        claim=claim,
        using=task.using,
        handler=task.handler,
        condemned=ProcessDied(f"begun {begun.starts - 1} times, and never ended: {task.key}") if is_deadly else None,
    )


class _TaskTurn(Turn):
    """Carry out the one row of a task on the calling thread."""

    def __init__(self, task: Task, handler: Handler, group: HandlerGroup, config: BusConfig) -> None:
        super().__init__(
            group, config, has_loop=False, on_fenced=lambda claim: None, reporter=Reporter(), sleep=self._sleep
        )
        self._task = task
        self._until = time.monotonic() + patience(handler, sends=0).total_seconds()

    def mode_of(self, handler: Handler | None) -> Mode:
        return Mode.SHARED if handler is None or handler.is_atomic else Mode.OUTSIDE

    def ledger_of_lanes(self, attempt: Attempt[Waiting]) -> Retries:
        (lane,) = attempt.part
        return _TaskLedger(
            {lane.lane: lane.claim},
            using=attempt.using,
            group=self.group,
            config=self.config,
            random=self.random,
            reporter=self._reporter,
            limit=1,
            condemned=attempt.condemned,
            first_condemned={} if lane.condemned is None else {lane.lane: lane.condemned},
            task=self._task,
        )

    def _sleep(self, seconds: float) -> bool:
        time.sleep(seconds)
        return time.monotonic() > self._until


class _TaskLedger(Retries):
    """Settle the row of a task as a row that waited, behind a lock on the row itself instead of its partition's."""

    def __init__(self, lanes: Mapping[UUID, Claim], *, task: Task, **same: Any) -> None:
        super().__init__(lanes, **same)
        self._task = task

    def open(self) -> None:
        """Lock the row; nothing is admitted where it is gone, or where another task has it."""
        self._now, self._opened_at = open_unit(self._using, partitions=()).now, time.monotonic()
        rows = self._rows.take(self._task.key, attempt=self._task.attempt)
        keep_savepoint(self._using)  # else a handler that fails would give the row to another task
        self._entries = [row._replace(available_at=None) for row in rows]  # its time is that of the next task

    def _runs_here(self, run: Run) -> bool:
        return True

    def _is_free(self, row: WaitingDelivery) -> bool:
        return True
