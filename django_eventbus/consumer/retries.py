"""What does a unit do with deliveries that wait in the database, so that each key keeps its order?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from time import monotonic
from uuid import UUID

from django.db import transaction

from django_eventbus.conf import BusConfig
from django_eventbus.delivery.dead_letters import Burial, bury
from django_eventbus.delivery.deliveries import Broken, Delivery, Outcome, Received, Skipped
from django_eventbus.delivery.groups import HandlerGroup
from django_eventbus.delivery.handover import Task, patience, send, task_for
from django_eventbus.delivery.pipeline import receive
from django_eventbus.delivery.running import alias_of
from django_eventbus.events.envelope import Envelope
from django_eventbus.models import DeadLetter, RetryMessage
from django_eventbus.models.dead_letter import DeadLetterReason, unpack_headers
from django_eventbus.models.retry import RetryQuerySet, Verdict, WaitingDelivery
from django_eventbus.models.unit import keep_savepoint, take_messages
from django_eventbus.transports.base import Record

from .arrivals import inbox_rows, open_fenced, retry_row
from .failing import Again, Dead, conclude
from .ownership import Claim
from .reporting import Notes, Reporter
from .run import Run

FIRST_ROWS = 20  # of each lane in one unit


class Retries:
    """Run the first rows of some lanes in order; stop a lane at its first failure, or at the first row not due.

    Only the owner of the partitions may do this, each lane in the in-memory lane of its key: else a message that is
    queued behind while the last row is deleted would never be woken.
    """

    def __init__(
        self,
        lanes: Mapping[UUID, Claim],
        *,
        using: str,
        group: HandlerGroup,
        config: BusConfig,
        random: Random,
        reporter: Reporter,
        limit: int = FIRST_ROWS,
        condemned: Mapping[UUID, BaseException],  # row -> it must not run: it fails with this
        first_condemned: Mapping[UUID, BaseException],  # lane -> the same for its first row
    ) -> None:
        self._lanes = lanes
        self._using = using
        self._group = group
        self._config = config
        self._random = random
        self._reporter = reporter
        self._notes = Notes(reporter)
        self._limit = limit
        self._claims = {claim.fences[using].partition_id: claim for claim in lanes.values()}
        self._condemned = condemned
        self._first_condemned = first_condemned
        self._entries: list[WaitingDelivery] = []
        self._stopped: set[UUID] = set()  # lanes in which nothing more may run now
        self._done: list[UUID] = []
        self._replayed: list[int] = []
        self._postponed: list[tuple[Run, datetime, BaseException]] = []
        self._aside: set[UUID] = set()  # postponed ones that go on in lanes of their own
        self._held: list[Run] = []
        self._burials: list[Burial] = []
        self._fanned_out: list[UUID] = []
        self._away: list[Run] = []  # of handlers that run in another process
        self._tasks: list[Task] = []
        self._has_more = False  # a lane has another row that may run at once

    def open(self) -> None:
        """Fence, and read the first rows of each lane."""
        opened = open_fenced([claim.fences[self._using] for claim in self._lanes.values()], using=self._using)
        self._now, self._opened_at = opened.now, monotonic()
        self._entries = self._rows.first_of(list(self._lanes), limit=self._limit)

    def admitted(self) -> Iterator[Run]:
        """Yield the rows that may run, lane by lane; those that never will are settled on the way."""
        for row in self._entries:
            if row.lane in self._stopped:
                continue
            if row.partition_id not in self._claims or (row.available_at or self._now) > self._time():
                self._stopped.add(row.lane)
            elif row.verdict == Verdict.DISCARD:
                self._done.append(row.key)
            else:
                yield from self._prepare(row)

    def steps_aside(self, run: Run) -> bool:
        """Let the rest of a lane wait once one of it has failed."""
        return _row(run).lane in self._stopped

    def handled(self, run: Run) -> None:
        """Let a row go; the inbox keeps the message."""
        self._finish(_row(run))
        self._notes.add(run, Outcome.HANDLED)

    def failed(self, run: Run, error: BaseException) -> None:
        """Give a failed row its next time, or make it a dead letter."""
        row = _row(run)
        match conclude(run, error, self._config, random=self._random):
            case Again(delay=delay, is_aside=is_aside):
                retry_at = self._time() + delay
                if is_aside:
                    self._aside.add(row.key)
                else:
                    self._stopped.add(row.lane)
                self._postponed.append((run, retry_at, error))
                self._notes.add(run, Outcome.RETRY, error=error, retry_at=retry_at)
            case Dead(reason=reason, is_held=is_held):
                self._burials.append(self._burial(run, row, reason, error))
                self._notes.add(run, Outcome.DEAD_LETTERED, error=error)
                if is_held:
                    self._stopped.add(row.lane)
                    self._held.append(run)
                else:
                    self._done.append(row.key)

    def close(self) -> None:
        """Write what became of the rows, and give the next one of each lane a time."""
        dead = bury(self._burials, config=self._config, using=self._using)
        for run, available_at, error in self._postponed:
            self._rows.postpone(_row(run).key, available_at=available_at, attempts=run.delivery.attempt, error=error)
        if self._aside:
            self._rows.set_apart(self._aside)
        for run in self._held:
            key = _row(run).key
            self._rows.hold(key, attempts=run.delivery.attempt, dead_letter_id=dead[key])
        if self._away:
            self._hand_over()
        if self._replayed:
            DeadLetter.objects.using(self._using).mark_replayed(self._replayed)
        if self._done:
            self._rows.finish(self._done)
        self._has_more = self._rows.promote([*self._lanes, *self._fanned_out])

    def report(self) -> None:
        """Tell the receivers of signals, and send tasks; after the commit."""
        self._notes.tell()
        send(self._tasks)
        if self._has_more:
            self._reporter.expect(None)

    def release(self) -> None:
        """Do nothing: the rows are still there, and run again."""

    def _prepare(self, row: WaitingDelivery) -> Iterator[Run]:
        """Read a waiting record again: the code may have changed since."""
        claim = self._claims[row.partition_id]
        record = Record(
            topic=row.topic,
            partition=claim.place.number,
            offset=row.position,
            key=None if row.record_key is None else bytes(row.record_key),
            value=None if row.payload is None else bytes(row.payload),
            headers=unpack_headers(bytes(row.headers)),
            received_at=row.received_at,
        )
        received = receive(
            record,
            self._group,
            self._config,
            only=row.handler,
            attempt=row.attempts + 1,
            is_replay=row.dead_letter_id is not None,
        )
        match received:
            case Received(deliveries=deliveries) if row.handler:
                (delivery,) = deliveries
                condemned = self._condemned.get(row.key) or self._first_condemned.get(row.lane)
                run = Run(delivery=delivery, claim=claim, using=self._using, row=row, condemned=condemned)
                if self._runs_here(run):
                    yield run
            case Received(deliveries=deliveries):
                self._fan_out(row, deliveries, claim)
            case Broken() | Skipped() if not self._is_free(row):
                self._stopped.add(row.lane)
            case Broken(envelope=envelope, error=error, reason=reason):
                self._bury(row, record, envelope, reason, error, row.attempts)
                self._done.append(row.key)
            case Skipped(envelope=envelope) if row.handler:
                reason = DeadLetterReason.HANDLER_RETIRED
                self._bury(row, record, envelope, reason, f"no handler {row.handler!r} takes it", row.attempts)
                self._done.append(row.key)
            case Skipped():
                self._finish(row)

    def _runs_here(self, run: Run) -> bool:
        """Set aside what another process has to run, or may be running."""
        row = _row(run)
        if run.delivery.handler.handle_in is not None and run.condemned is None:
            self._away.append(run)
        elif self._is_free(row):
            return True
        self._stopped.add(row.lane)
        return False

    def _is_free(self, row: WaitingDelivery) -> bool:
        """Say whether no task, perhaps of an older deployment, is at work on a row; none can begin it from now on."""
        if row.sends == 0:
            return True
        if not self._rows.unlocked([row.key]):
            return False
        keep_savepoint(self._using)  # else a handler that fails would give the row to a task
        return True

    def _hand_over(self) -> None:
        free = self._rows.unlocked([_row(run).key for run in self._away])
        for run in self._away:
            row, handler = _row(run), run.delivery.handler
            if row.key in free and handler.handle_in is not None:
                self._rows.hand_over(row.key, available_at=self._time() + patience(handler, sends=row.sends))
                task = task_for(run.delivery, handler.handle_in, key=row.key, config=self._config, using=self._using)
                self._tasks.append(task)

    def _fan_out(self, row: WaitingDelivery, deliveries: Sequence[Delivery], claim: Claim) -> None:
        """Queue a record that can be read by now for each of its handlers, at its old place."""
        by_alias: dict[str, list[Run]] = defaultdict(list)
        for delivery in deliveries:
            alias = alias_of(delivery.handler, self._config)
            by_alias[alias].append(Run(delivery=delivery, claim=claim, using=alias))
        for alias, runs in by_alias.items():
            # On another alias this commits first: a crash in between fans out again, and its inbox knows the message.
            with transaction.atomic(using=alias):
                fresh = take_messages(alias, inbox_rows(runs))
                new = [run for run in runs if run.delivery.handler.is_idempotent or run.delivery.inbox_key in fresh]
                rows = RetryMessage.objects.using(alias)
                rows.enqueue([retry_row(run, attempts=0, available_at=None) for run in new])
                if alias == self._using:
                    self._fanned_out += [run.delivery.lane for run in new]
                else:
                    rows.promote([run.delivery.lane for run in new])
        self._finish(row)

    def _finish(self, row: WaitingDelivery) -> None:
        self._done.append(row.key)
        if row.dead_letter_id is not None:
            self._replayed.append(row.dead_letter_id)

    def _burial(self, run: Run, row: WaitingDelivery, reason: DeadLetterReason, error: BaseException) -> Burial:
        burial = Burial.of_delivery(
            run.delivery,
            partition_id=row.partition_id,
            reason=reason,
            error=error,
            first_failed_at=row.first_failed_at or self._time(),
        )
        # What waited aside takes its place among the others of its key when it is replayed.
        is_apart = row.lane == row.key
        return replace(burial, inbox_key=row.key, lane=run.delivery.lane if is_apart else row.lane)

    def _bury(
        self,
        row: WaitingDelivery,
        record: Record,
        envelope: Envelope | None,
        reason: DeadLetterReason,
        error: BaseException | str,
        attempts: int,
    ) -> None:
        self._burials.append(
            Burial(
                record=record,
                envelope=envelope,
                group=self._group.name,
                handler=row.handler,
                partition_id=row.partition_id,
                inbox_key=row.key,
                lane=row.lane,
                reason=reason,
                error=error,
                attempts=attempts,
                first_failed_at=row.first_failed_at or self._time(),
            )
        )

    @property
    def _rows(self) -> RetryQuerySet:
        return RetryMessage.objects.using(self._using)

    def _time(self) -> datetime:
        return self._now + timedelta(seconds=monotonic() - self._opened_at)


def _row(run: Run) -> WaitingDelivery:
    assert run.row is not None
    return run.row
