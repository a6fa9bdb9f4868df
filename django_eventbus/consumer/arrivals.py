"""What does a unit write down about messages that have just arrived?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from time import monotonic
from uuid import UUID

from django_eventbus.conf import BusConfig
from django_eventbus.delivery.dead_letters import Burial, bury
from django_eventbus.delivery.deliveries import Broken, Outcome
from django_eventbus.delivery.handler import Place
from django_eventbus.delivery.handover import Task, patience, send, task_for
from django_eventbus.delivery.row_locks import lock_rows
from django_eventbus.models import InboxMessage, RetryMessage
from django_eventbus.models.dead_letter import pack_headers
from django_eventbus.models.outbox import HELD_UNTIL
from django_eventbus.models.retry import type_name
from django_eventbus.models.text import LONGEST_MESSAGE, LONGEST_NAME, storable
from django_eventbus.models.unit import InboxRow, Opened, keep_savepoint, open_unit
from django_eventbus.sagas.preloading import preload

from .failing import Again, Dead, conclude
from .ownership import Claim, Fence
from .reporting import Notes, Reporter
from .run import Run
from .trouble import Fenced


class Arrivals:
    """Take messages into the inbox, and queue those that fail, or whose key waits, in the retry table."""

    def __init__(
        self, runs: Sequence[Run], *, using: str, config: BusConfig, random: Random, reporter: Reporter
    ) -> None:
        self._runs = runs
        self._using = using
        self._config = config
        self._random = random
        self._notes = Notes(reporter)
        self._fresh: set[UUID] = set()
        self._unhandled: set[UUID] = set()  # taken by this unit
        self._waiting: set[UUID] = set()
        self._rows: list[RetryMessage] = []
        self._burials: list[Burial] = []
        self._tasks: list[Task] = []

    def open(self) -> None:
        """Fence, take and look in one round trip."""
        lanes = {run.delivery.lane for run in self._runs}
        fences = [claim.fences[self._using] for claim in {run.claim for run in self._runs}]
        opened = open_fenced(fences, using=self._using, inbox=inbox_rows(self._runs), lanes=lanes)
        self._opened_at = monotonic()
        self._now = opened.now
        self._fresh, self._waiting = opened.fresh, opened.waiting
        self._unhandled = set(opened.fresh)
        expected = [run.delivery for run in self._runs if self._is_expected(run)]
        steps = [delivery for delivery in expected if delivery.handler.saga_key is not None]
        if steps:
            preload(steps, using=self._using)
        if lock_rows(expected, using=self._using) or steps:
            keep_savepoint(self._using)  # else the first run that is undone would give back the locks of all others

    def admitted(self) -> Iterator[Run]:
        """Yield what is no duplicate and whose key does not wait."""
        for run in self._runs:
            if self._is_duplicate(run):
                self._notes.add(run, Outcome.DUPLICATE)
            elif self.steps_aside(run):
                continue
            elif (place := run.delivery.handler.handle_in) is not None and run.condemned is None:
                self._hand_over(run, place)
            else:
                yield run

    def steps_aside(self, run: Run) -> bool:
        """Queue a message behind one of its key that waits."""
        if run.delivery.lane not in self._waiting:
            return False
        self._rows.append(retry_row(run, attempts=0, available_at=None))
        return True

    def _is_expected(self, run: Run) -> bool:
        delivery = run.delivery
        if delivery.handler.saga_key is None and delivery.handler.state is None:
            return False
        return delivery.lane not in self._waiting and self._fresh.issuperset(delivery.inbox_keys)

    def _is_duplicate(self, run: Run) -> bool:
        keys = run.delivery.inbox_keys
        if run.delivery.handler.is_idempotent:
            return False
        if not self._fresh.issuperset(keys):
            return True
        self._fresh.difference_update(keys)  # the same event may come twice in one unit
        return False

    def handled(self, run: Run) -> None:
        """Note a success; what it wrote is committed with the unit."""
        self._unhandled.difference_update(run.delivery.inbox_keys)
        self._notes.add(run, Outcome.HANDLED)

    def failed(self, run: Run, error: BaseException) -> None:
        """Put a failed message at the head of its lane, or make it a dead letter."""
        match conclude(run, error, self._config, random=self._random):
            case Again(delay=delay, is_aside=is_aside):
                retry_at = self._time() + delay
                self._queue_first(run, error, available_at=retry_at, is_aside=is_aside)
                self._notes.add(run, Outcome.RETRY, error=error, retry_at=retry_at)
            case Dead(reason=reason, is_held=is_held):
                self._burials.append(
                    Burial.of_delivery(
                        run.delivery,
                        partition_id=run.fence.partition_id,
                        reason=reason,
                        error=error,
                        first_failed_at=self._time(),
                    )
                )
                self._notes.add(run, Outcome.DEAD_LETTERED, error=error)
                if is_held:
                    self._queue_first(run, error, available_at=HELD_UNTIL)

    def close(self) -> None:
        """Write all that failed or waits; only now, since a later run's undo would take it away again."""
        dead = bury(self._burials, config=self._config, using=self._using)
        for row in self._rows:
            row.dead_letter_id = dead.get(row.key)
        if self._rows:
            RetryMessage.objects.using(self._using).enqueue(self._rows)

    def report(self) -> None:
        """Tell the receivers of signals, and send tasks; after the commit."""
        self._notes.tell()
        send(self._tasks)

    def release(self) -> None:
        """Give messages back that nobody has handled: else the inbox would take their next delivery for a second."""
        InboxMessage.objects.using(self._using).filter(key__in=self._unhandled).delete()

    def _hand_over(self, run: Run, place: Place) -> None:
        row = retry_row(run, attempts=0, available_at=self._time() + patience(run.delivery.handler, sends=0))
        row.sends = 1
        self._rows.append(row)
        self._tasks.append(task_for(run.delivery, place, key=row.key, config=self._config, using=self._using))

    def _queue_first(self, run: Run, error: BaseException, *, available_at: datetime, is_aside: bool = False) -> None:
        row = retry_row(run, attempts=run.delivery.attempt, available_at=available_at)
        row.error_type = storable(type_name(error), limit=LONGEST_NAME)
        row.error_message = storable(str(error), limit=LONGEST_MESSAGE)
        row.first_failed_at = self._time()
        self._rows.append(row)
        if is_aside:
            row.lane = row.key
        else:
            self._waiting.add(run.delivery.lane)

    def _time(self) -> datetime:
        return self._now + timedelta(seconds=monotonic() - self._opened_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenArrival:
    """A record that no handler can get, and the partition that it came from."""

    broken: Broken
    claim: Claim


class Unreadable:
    """Make dead letters of records that no handler can get: one for each, however often the broker delivers it."""

    def __init__(
        self, records: Sequence[BrokenArrival], *, using: str, group: str, config: BusConfig, reporter: Reporter
    ) -> None:
        self._records = records
        self._reporter = reporter
        self._group = group
        self._using = using
        self._config = config
        self._fresh: set[UUID] = set()

    def open(self) -> None:
        """Fence, and take the records into the inbox."""
        fences = [one.claim.fences[self._using] for one in self._records]
        inbox = [
            InboxRow(one.broken.inbox_key, "", self._row_of(one), one.broken.record.offset) for one in self._records
        ]
        self._fresh = open_fenced(fences, using=self._using, inbox=inbox).fresh

    def admitted(self) -> Iterator[Run]:
        """Yield nothing: there is no handler to run."""
        yield from ()

    def steps_aside(self, run: Run) -> bool:
        return False

    def handled(self, run: Run) -> None: ...

    def failed(self, run: Run, error: BaseException) -> None: ...

    def close(self) -> None:
        """Write the dead letters."""
        burials = [
            Burial.of_broken(one.broken, group=self._group, partition_id=self._row_of(one))
            for one in self._records
            if one.broken.inbox_key in self._fresh
        ]
        bury(burials, config=self._config, using=self._using)

    def report(self) -> None:
        """Count the dead letters; `bury` tells everybody, after the commit."""
        self._reporter.tell(Counter({Outcome.DEAD_LETTERED: len(self._fresh)}), [])

    def release(self) -> None: ...

    def _row_of(self, one: BrokenArrival) -> int:
        return one.claim.fences[self._using].partition_id


def open_fenced(
    fences: Iterable[Fence], *, using: str, inbox: Sequence[InboxRow] = (), lanes: Iterable[UUID] = ()
) -> Opened:
    """Open a unit, and raise Fenced where one of its partitions has another owner by now."""
    expected = dict(fences)
    opened = open_unit(using, partitions=sorted(expected), inbox=inbox, lanes=lanes)
    fenced = [row for row, epoch in expected.items() if opened.epochs.get(row) != epoch]
    if fenced:
        raise Fenced(fenced)
    return opened


def inbox_rows(runs: Iterable[Run]) -> list[InboxRow]:
    """Return what the inbox keeps of runs: a row for each name that the handler ever had."""
    return [
        InboxRow(key, name, run.fence.partition_id, run.delivery.record.offset)
        for run in runs
        if not run.delivery.handler.is_idempotent
        for key, name in zip(run.delivery.inbox_keys, run.delivery.handler.names, strict=True)
    ]


def retry_row(run: Run, *, attempts: int, available_at: datetime | None) -> RetryMessage:
    """Make the row under which a delivery waits, with the exact bytes of its record."""
    delivery = run.delivery
    record, envelope = delivery.record, delivery.envelope
    return RetryMessage(
        key=delivery.inbox_key,
        partition_id=run.fence.partition_id,
        lane=delivery.lane,
        position=record.offset,
        handler=delivery.handler.name,
        topic=record.topic,
        message_id=storable(envelope.message_id, limit=LONGEST_NAME),
        event_name=storable(envelope.event_name, limit=LONGEST_NAME),
        record_key=record.key,
        headers=pack_headers(record.headers),
        payload=record.value,
        attempts=attempts,
        available_at=available_at,
    )
