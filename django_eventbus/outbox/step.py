"""What does a relay do in one step, and in which order, so that a crash anywhere loses and reorders nothing?

Begin and lock (the loop does); read the lanes and send what is due there; read the outbox; let aside what must wait;
send; settle; commit (the loop again). On PostgreSQL all of it is one transaction, which holds the locks. On SQLite only
each settling is one, since nobody else could write meanwhile, and the lock is a file.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, Protocol

from django_eventbus.conf import BusConfig
from django_eventbus.events.envelope import OutgoingRow, split_headers
from django_eventbus.signals import emit, message_dead_lettered, message_sent
from django_eventbus.telemetry import TraceContext, sending, system_of
from django_eventbus.transports.base import Failure, Sender, SendResult

from .parking import Aside, outcomes
from .settling import Session, Settlement

PROBE_DEADLINE = 2.0  # seconds that parked messages may take of a step


class TooLate(Exception):
    """The step's time is over: a standby may be at work by now, so nothing may be sent any more."""


class Reader(Protocol):
    """Be the order in which the outbox is read; see outbox/reader.py."""

    def read(self) -> list[OutgoingRow]: ...
    def learn(self, gone: Collection[int]) -> None: ...
    def restart(self) -> None: ...


class Step:
    """Send one batch of what waits in lanes and one of the outbox; made for one pass, under the locks."""

    def __init__(self, config: BusConfig, *, session: Session, reader: Reader, sender: Sender, until: float) -> None:
        self._config = config
        self._session = session
        self._reader = reader
        self._sender = sender
        self._until = until  # one budget for the whole step, below GRACE
        self.settlement = Settlement(session, is_holding_keys=config.outbox.on_dead_letter == "hold_key")
        self.outage: Failure | None = None  # why nothing gets through, where nothing does
        self.is_empty = False  # nothing waits, but for keys that are held for a verdict
        self.has_read = False  # there was something, so there may be more
        self.duration = timedelta(0)  # time spent on sending

    def run(self) -> None:
        aside = Aside(self._session.lanes.waiting(limit=self._config.outbox.batch_size))
        self._send_parked(aside)
        rows = self._reader.read()
        self.is_empty = not rows and all(lane.is_held for lane in aside.lanes)
        self._send_waiting(rows, aside)

    @property
    def has_progressed(self) -> bool:
        """Say whether anything has left its place, so that the next step will find something else."""
        return bool(self.settlement.sent or self.settlement.gone or self.settlement.buried)

    def announce(self) -> None:
        """Tell who listens what has been sent, and what never can be; only once it is committed."""
        place: dict[str, Any] = {"bus": self._config.alias, "using": self._config.database}
        if self.settlement.sent:
            emit(message_sent, **place, count=self.settlement.sent, duration=self.duration)
        for buried in self.settlement.buried:
            emit(
                message_dead_lettered,
                **place,
                envelope=buried.envelope,
                handler="",
                group="",
                attempt=buried.attempt,
                error=buried.code,
                dead_letter_id=buried.dead_letter_id,
            )

    def _send_parked(self, aside: Aside) -> None:
        takes = aside.takes(limit=self._config.outbox.batch_size)
        if not takes:
            return
        parked = self._session.lanes.read(takes)
        result = self._send([each.row for each in parked], deadline=PROBE_DEADLINE)
        filled = {each.lane_id for each in parked}
        empty = [lane for lane, _ in takes if lane.id not in filled]
        with self._session.settling():
            self.settlement.settle_lanes(parked, outcomes(takes, parked, result.failures))
            if empty:
                self._session.lanes.close(empty)
        self.has_read = len(result.acked) > 0

    def _send_waiting(self, rows: list[OutgoingRow], aside: Aside) -> None:
        if not rows:
            return
        self.has_read = True
        free, waiting = aside.divide(rows)
        result = self._send(free, deadline=self._config.outbox.send_deadline.total_seconds())
        with self._session.settling():
            if waiting:
                self.settlement.let_aside(waiting)
            findings = self.settlement.settle(free, result)
        if findings.outage is not None and (findings.is_fault or not result.acked):
            self.outage = findings.outage
        elif not self.has_progressed:
            self.outage = next(iter(result.failures.values()), None)

    def _send(self, rows: Sequence[OutgoingRow], *, deadline: float) -> SendResult:
        if not rows:
            return SendResult(acked=[])
        began = time.monotonic()
        if began >= self._until:
            raise TooLate
        created = (TraceContext.from_headers(split_headers(row[3])) for row in rows)
        system = system_of(self._config)
        with sending(count=len(rows), topics=(row[1] for row in rows), created=created, system=system) as operation:
            result = self._sender.send(rows, deadline=min(deadline, self._until - began))
            if result.failures:
                operation.fail(next(iter(result.failures.values())).code)
        self.duration += timedelta(seconds=time.monotonic() - began)
        return result
