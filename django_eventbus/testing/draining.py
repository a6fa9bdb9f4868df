"""How does a test let everything happen that its events lead to, without another thread, process or connection?

The parts are the real ones: the relay's step, inbox, units of work, retries, dead letters. They work on the test's own
connection, since nobody else can see what a TestCase never commits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from django.db import connections
from django.db.transaction import TransactionManagementError

from django_eventbus.bus import Bus, buses
from django_eventbus.consumer.handed_over import run_task
from django_eventbus.delivery.handover import Task, carried_by
from django_eventbus.delivery.registry import groups_of
from django_eventbus.events.envelope import OutgoingRow
from django_eventbus.models import OutboxLane, ParkedMessage, RetryMessage, ScheduledMessage
from django_eventbus.models.relay_plain import PlainSession
from django_eventbus.models.relay_scheduled import BEGINNING
from django_eventbus.outbox.step import Step
from django_eventbus.outbox.transactions import is_in_transaction
from django_eventbus.transports.base import Failure, FailureKind, Record, Sender, SendResult
from django_eventbus.transports.local import Deliver, LocalSender, record_of
from django_eventbus.transports.memory import MemoryTransport

from .clock import let_pass, next_wait
from .published import reachable_aliases, reachable_buses
from .report import DrainReport, Tally

MOST_STEPS = 1000  # events that publish each other without end must not hang the test
UNDELIVERED = Failure(FailureKind.NOT_SENT, "not_delivered_yet")


def drain(*, bus: str | None = None, advance: timedelta | None = None, raise_errors: bool = False) -> DrainReport:
    """Relay and handle on this thread until nothing is due; also inside a TestCase, whose transaction never commits.

    Commit hooks of handlers run. `advance` lets this much time pass: scheduled events and retries that fall due within
    it run, one after the other, without waiting. `raise_errors` raises the first error of a handler once everything
    has run. Inside `atomic()` it raises TransactionManagementError: call it where the code under test has committed.
    """
    aliases = reachable_aliases()
    _refuse_transaction(aliases)
    carriers = [Carrier(queue) for each in reachable_buses(bus) for queue in dict.fromkeys((each, each.local))]
    tally, left = Tally(), advance or timedelta(0)
    with _hooks_set_aside(aliases), tally.listening(), carried_by(_run_here):
        try:
            looked_at = _carry_on(carriers)
            while (wait := next_wait(aliases, looked_at=looked_at)) is not None and wait <= left:
                left -= wait
                let_pass(wait, aliases)
                looked_at = _carry_on(carriers)
            let_pass(left, aliases)
        finally:
            for carrier in carriers:
                carrier.close()
    if raise_errors:
        tally.raise_first()
    return DrainReport(
        sent=sum(carrier.sent for carrier in carriers),
        handled=tally.handled,
        duplicates=tally.duplicates,
        failures=tuple(tally.failures),
        unsent=sum(carrier.unsent() for carrier in carriers),
        waiting=sum(RetryMessage.objects.using(alias).count() for alias in aliases),
        scheduled=sum(ScheduledMessage.objects.using(alias).count() for alias in aliases),
    )


class Carrier:
    """Carry the events of one bus from the outbox to the handlers, step by step."""

    def __init__(self, bus: Bus) -> None:
        self.sent = 0
        self._config = bus.config
        self._session = PlainSession(bus.config)
        self._deliverer = bus.new_deliverer(groups_of(bus.config))
        self._sender: Sender = LocalSender(self._deliver)
        if isinstance(bus.transport, MemoryTransport):
            self._sender = ThroughMemory(bus.transport.open_sender(client_id="drain"), self._deliver)

    def step(self) -> bool:
        """Send one batch and run what is due; return whether there may be more."""
        has_moved = self._move_due()
        until = time.monotonic() + self._config.outbox.grace.total_seconds()
        step = Step(self._config, session=self._session, reader=self._session, sender=self._sender, until=until)
        step.run()
        self.sent += step.settlement.sent
        step.announce()
        self._deliverer.run_due_retries()
        run_hooks()
        return has_moved or step.has_progressed

    def unsent(self) -> int:
        """Count what the transport did not take."""
        lanes = OutboxLane.objects.using(self._config.database).filter(bus=self._session.bus)
        parked = ParkedMessage.objects.using(self._config.database).filter(lane_id__in=lanes.values("id"))
        return self._session.outbox().count() + parked.count()

    def close(self) -> None:
        self._deliverer.close()
        self._sender.close()

    def _move_due(self) -> bool:
        if not self._session.scheduled.is_due():
            return False
        with self._session.settling():
            return self._session.scheduled.move(since=BEGINNING, limit=self._config.outbox.batch_size).count > 0

    def _deliver(self, records: Sequence[Record], deadline: float) -> int:
        done = self._deliverer.deliver(records, deadline)
        run_hooks()
        return done


class ThroughMemory:
    """Send to the broker in memory, so that its faults count, and hand over at once what it took."""

    def __init__(self, sender: Sender, deliver: Deliver) -> None:
        self._sender = sender
        self._deliver = deliver

    def send(self, rows: Sequence[OutgoingRow], *, deadline: float) -> SendResult:
        result = self._sender.send(rows, deadline=deadline)
        taken = set(result.acked)
        records = [record_of(row) for row in rows if row[0] in taken]
        done = self._deliver(records, deadline)
        behind = [record.offset for record in records[done:]]
        acked = [number for number in result.acked if number not in set(behind)]
        return SendResult(acked=acked, failures={**result.failures, **dict.fromkeys(behind, UNDELIVERED)})

    def serve(self) -> None:
        self._sender.serve()

    def close(self) -> None:
        self._sender.close()


def _run_here(tasks: Sequence[Task]) -> None:
    for task in tasks:
        bus = buses[task.bus]
        run_task(task, group=groups_of(bus.local.config).get(task.group), config=bus.config)  # a test may declare more
        run_hooks()


def run_hooks() -> None:
    """Run the commit hooks that handlers have left in a transaction which never commits."""
    for connection in connections.all(initialized_only=True):
        while connection.in_atomic_block and connection.run_on_commit:
            hook = connection.run_on_commit.pop(0)[1]
            hook()


def _carry_on(carriers: Sequence[Carrier]) -> datetime:
    """Step until nothing is left to do; return when the last look began."""
    for _ in range(MOST_STEPS):
        looked_at = datetime.now(UTC)
        progressed = [carrier.step() for carrier in carriers]
        if not any(progressed):
            return looked_at
    raise RuntimeError(f"drain() stopped after {MOST_STEPS} steps: handlers publish events that lead back to them.")


def _refuse_transaction(aliases: Sequence[str]) -> None:
    for alias in aliases:
        if is_in_transaction(connections[alias]):
            raise TransactionManagementError(
                f"drain() was called inside atomic() on database {alias!r}, where nothing is committed yet. "
                "Call it after the block."
            )


@contextmanager
def _hooks_set_aside(aliases: Sequence[str]) -> Iterator[None]:
    """Keep the hooks of the code under test for the test case itself, which decides whether they ever run."""
    own = {alias: connections[alias].run_on_commit for alias in aliases}
    for alias in aliases:
        connections[alias].run_on_commit = []
    try:
        yield
    finally:
        for alias, hooks in own.items():
            connections[alias].run_on_commit[:0] = hooks
