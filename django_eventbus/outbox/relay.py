"""How does one relay work through its share of the outbox, for ever or until nothing is left?"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Protocol

from django.db import connections

from django_eventbus.conf import BusConfig
from django_eventbus.models.relay import RelaySession
from django_eventbus.signals import RelayState, emit, relay_state_changed
from django_eventbus.transports.base import Sender

from . import agenda, settling
from .agenda import Agenda
from .reader import WindowReader
from .shards import shards_of
from .sqlite import SqliteSession
from .step import Reader, Step
from .supervisor import Supervisor
from .ways import way_of

BUSY_PAUSE = 0.02  # seconds until the next look after the last message; doubled up to
IDLE_PAUSE = 1.0
STANDBY_PAUSE = 1.0
SLICE = 0.2  # seconds after which a waiting relay looks whether it shall stop
BUDGET = 0.8  # share of GRACE that a step may take: it must have ended before a standby evicts it


class Session(settling.Session, agenda.Session, Protocol):
    """Be what the loop asks of the database; see models/relay.py and models/relay_plain.py."""

    @property
    def is_listening(self) -> bool: ...
    def begin(self) -> bool: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def evict_overdue(self, *, grace: float) -> Collection[int]: ...
    def wait_for_notice(self, *, timeout: float) -> bool: ...
    def is_empty(self) -> bool: ...
    def close(self) -> None: ...
    def leave_to_parent(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayReport:
    """Say what a relay has done."""

    sent: int = 0
    dead_lettered: int = 0
    parked: int = 0  # messages that stepped aside; some may be among the sent
    steps: int = 0
    is_empty: bool = False  # nothing was left at the last look, but for keys held for a verdict
    state: RelayState = RelayState.STOPPED  # what it was doing at the end


class Relay:
    """Send what one share of a bus's outbox holds; belongs to the thread that calls `run`."""

    def __init__(
        self,
        config: BusConfig,
        open_sender: Callable[[], Sender],
        *,
        share: int = 0,
        shares: int = 1,
        idle_work: Callable[[], float | None] | None = None,
        on_progress: Callable[[RelayReport], None] | None = None,
    ) -> None:
        self._config = config
        self._open_sender = open_sender
        self._idle_work = idle_work  # called between steps; returns the seconds until it is due again
        self._on_progress = on_progress
        self._is_on_postgresql = connections[config.database].vendor == "postgresql"
        self._shards = shards_of(share, shares=shares)
        self._grace = config.outbox.grace.total_seconds()
        self._supervisor = Supervisor(config.database)
        self._woken = threading.Event()
        self._session: Session | None = None
        self._sender: Sender | None = None
        self._reader: Reader
        self._agenda: Agenda
        self._pause = 0.0  # before the next step, under its locks
        self._idle_pause = BUSY_PAUSE
        self._is_backing_off = False
        self._is_until_empty = False
        self._state = RelayState.STOPPED
        self._report = RelayReport()

    def wake(self) -> None:
        """Let an idle relay look at once; callable from every thread."""
        self._woken.set()

    def leave_to_parent(self) -> None:
        """Let go of what a forked child has inherited, without a word to the server."""
        if self._session is not None:
            self._session.leave_to_parent()

    def run(
        self, stop: threading.Event, *, until_empty: bool = False, timeout: float | None = None, once: bool = False
    ) -> RelayReport:
        """Relay until `stop` is set, the outbox is empty, the time is over, or one pass is done."""
        self._is_until_empty = until_empty
        ends_at = None if timeout is None else time.monotonic() + timeout
        try:
            self._sender = self._open_sender()  # at once: a producer needs half a second until it can send
            while not stop.is_set():
                self._turn(stop)
                if once or (until_empty and self._report.is_empty):
                    break
                if ends_at is not None and time.monotonic() >= ends_at:
                    break
        finally:
            self._close()
        last, self._report = self._report, RelayReport()
        self._become(RelayState.STOPPED)
        return last

    def _turn(self, stop: threading.Event) -> None:
        try:
            if self._session is None:
                self._session, self._reader = self._open_session()
                self._agenda = Agenda(self._session)
            if self._sender is None:
                self._sender = self._open_sender()
            began = time.monotonic()
            if self._session.begin():
                self._work(self._session, self._sender, stop, began=began)
            else:
                self._stand_by(self._session, stop)
        except Exception as error:  # noqa: BLE001  the loop's boundary: one bad turn must not end the relay
            # Whatever was in flight is still in the outbox; the supervisor raises what keeps coming back.
            pause = self._supervisor.pause_after(error)
            if not self._supervisor.is_outage(error):
                self._drop_sender()
            self._drop_session()
            self._become(RelayState.BACKING_OFF, reason=f"{type(error).__name__}: {error}".strip())
            stop.wait(pause)

    def _work(self, session: Session, sender: Sender, stop: threading.Event, *, began: float) -> None:
        if self._state is RelayState.STANDBY:
            self._reader.restart()
        if not self._is_backing_off:
            self._become(RelayState.ACTIVE)
        try:
            self._hold(session, sender, stop)
            if stop.is_set():
                session.rollback()
                return
            if self._agenda.move_due(is_busy=not self._pause):
                # Before anything is sent: else, after a crash, what was sent would wait again, to be cancelled.
                session.commit()
                began = time.monotonic()
                if not session.begin():
                    self._stand_by(session, stop)
                    return
            until = began + BUDGET * self._grace
            step = Step(self._config, session=session, reader=self._reader, sender=sender, until=until)
            step.run()
            session.commit()
        except BaseException:
            self._give_up(session)
            raise
        # Only now: what a rolled-back step has deleted is there again.
        self._reader.learn(step.settlement.gone)
        self._conclude(step)
        if self._idle_work is not None:
            self._do_idle_work(self._idle_work, session)

    def _do_idle_work(self, work: Callable[[], float | None], session: Session) -> None:
        due = work()
        self._pause = self._pause if due is None else min(self._pause, max(0.0, due))
        if self._is_until_empty and self._report.is_empty:
            # What it has published is sent before the relay ends.
            self._report = replace(self._report, is_empty=session.is_empty())

    def _hold(self, session: Session, sender: Sender, stop: threading.Event) -> None:
        """Wait for new messages, or for the broker, while holding the locks.

        Between two transactions a standby could take them, and a wake-up would find the door shut.
        """
        ends_at = time.monotonic() + min(self._pause, self._grace / 4)
        while not stop.is_set() and (left := ends_at - time.monotonic()) > 0:
            sender.serve()
            left = min(left, SLICE)
            if self._is_backing_off:
                stop.wait(left)
            elif session.is_listening:
                if session.wait_for_notice(timeout=left):
                    return
            elif self._woken.wait(left):
                self._woken.clear()
                return

    def _conclude(self, step: Step) -> None:
        """Choose the next pause, and tell who listens, after the commit."""
        settlement = step.settlement
        if step.outage is not None:
            self._is_backing_off = True
            self._pause = self._supervisor.pause()
            self._become(RelayState.BACKING_OFF, reason=step.outage.told)
        else:
            self._is_backing_off = False
            self._supervisor.recovered()
            self._become(RelayState.ACTIVE)
            self._pause = 0.0 if step.has_read else min(self._idle_pause, self._agenda.wait())
            self._idle_pause = BUSY_PAUSE if step.has_read else min(IDLE_PAUSE, 2 * self._idle_pause)
        self._report = RelayReport(
            sent=self._report.sent + settlement.sent,
            dead_lettered=self._report.dead_lettered + len(settlement.buried),
            parked=self._report.parked + settlement.parked,
            steps=self._report.steps + 1,
            is_empty=step.is_empty and not self._agenda.has_more,
            state=self._state,
        )
        step.announce()
        if self._on_progress is not None:
            self._on_progress(self._report)

    def _stand_by(self, session: Session, stop: threading.Event) -> None:
        self._is_backing_off = False
        self._pause = 0.0
        self._become(RelayState.STANDBY)
        self._supervisor.recovered()
        evicted = session.evict_overdue(grace=self._grace)
        is_empty = self._is_until_empty and session.is_empty()  # the one at work empties it for both
        self._report = replace(self._report, is_empty=is_empty, state=self._state)
        stop.wait(0.05 if evicted else min(STANDBY_PAUSE, self._grace / 2))

    def _open_session(self) -> tuple[Session, Reader]:
        if not self._is_on_postgresql:
            plain = SqliteSession(self._config)
            return plain, plain
        is_listening = way_of(self._config, self._config.database) == "notify"
        session = RelaySession(self._config, shards=self._shards, is_listening=is_listening)
        return session, WindowReader(session, limit=self._config.outbox.batch_size)

    def _give_up(self, session: Session) -> None:
        try:
            session.rollback()
        except Exception as error:
            # A connection that is gone has rolled back by itself; what made the step fail is raised by the caller.
            if not self._supervisor.is_outage(error):
                raise

    def _become(self, state: RelayState, *, reason: str = "") -> None:
        if state is self._state:
            return
        self._state = state
        emit(
            relay_state_changed,
            bus=self._config.alias,
            using=self._config.database,
            state=state,
            shards=self._shards,
            reason=reason,
        )

    def _drop_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _drop_sender(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()

    def _close(self) -> None:
        self._drop_sender()
        self._drop_session()
