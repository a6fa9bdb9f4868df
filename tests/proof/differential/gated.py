"""Where does a process ask for leave? Around the very functions that the steps of the model stand for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django_eventbus.conf import BusConfig
from django_eventbus.events.envelope import OutgoingRow
from django_eventbus.transports.base import ConsumerOptions, Failure, FailureKind, Record
from django_eventbus.transports.memory import MemorySender
from tests.proof.differential.gates import gates
from tests.proof.sweep.journal import Journal
from tests.proof.sweep.transport import JournalConsumer, JournalTransport

KINDS = {"outage": FailureKind.TRANSPORT_DOWN, "refused": FailureKind.PERMANENT, "trouble": FailureKind.OTHER}


class GatedReceiver:
    """Take a record, or do not, as the trace says."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def receive(self, row: OutgoingRow) -> Failure | None:
        step = gates.wait("send", "do_not_send", "refuse_again")
        failure = None
        match step:
            case "send":
                self._journal.append(row)
            case "refuse_again":
                failure = Failure(FailureKind.PERMANENT, "refused")
            case _:
                kind = gates.told.partition(" ")[0]
                failure = Failure(KINDS[kind], kind)
        gates.done(answer=str(row[0]))
        return failure


class GatedConsumer(JournalConsumer):
    """Join, receive, store and hear of losses one by one."""

    def store(self, positions: Any) -> None:
        mine = {place: offset for place, offset in positions.items() if self._stored.get(place, 0) < offset}
        if mine:
            with gates.step("store"):
                super().store(mine)
                self._stored |= mine

    def _rebalance(self) -> None:
        is_lost = bool(self._positions) and not self._journal.is_member(self._group)
        if is_lost and gates.may("notice_loss"):
            lost = self.assignment()
            self._positions.clear()
            self._listener.lost(lost)
            gates.done()
        elif not self._positions and gates.may("assign"):
            super()._rebalance()
            self._stored = self._journal.committed(self._group)
            gates.done()

    def _take(self, limit: int) -> list[Record]:
        records = super()._take(1) if gates.may("poll") else []
        if records:
            gates.done()
        return records

    def _report_ends(self) -> None:
        """Tell of no end: what the trace holds back is there."""


class GatedTransport(JournalTransport):
    def __init__(self, config: BusConfig) -> None:
        super().__init__(config)
        self._gated = Journal(Path(config.options["folder"]))

    def open_sender(self, *, client_id: str) -> Any:
        broker: Any = GatedReceiver(self._gated)
        return MemorySender(broker)

    def open_consumer(self, options: ConsumerOptions) -> Any:
        return GatedConsumer(self._gated, options.group)


def gate_relay() -> None:
    """Let a relay ask for leave."""
    from django_eventbus.models.relay import RelaySession
    from django_eventbus.models.relay_lanes import RelayLanes
    from django_eventbus.outbox.reader import WindowReader
    from django_eventbus.outbox.relay import Relay

    begin, commit, drop = RelaySession.begin, RelaySession.commit, Relay._drop_session

    def beginning(self: Any) -> bool:
        gates.wait("begin")
        has_begun = begin(self)
        if has_begun:  # else the server has not yet noticed that the last holder is dead
            gates.done()
        return has_begun

    def committing(self: Any) -> None:
        with gates.step("settle"):
            commit(self)

    def dropping(self: Any) -> None:
        gates.wait("settle", "notice_eviction")
        drop(self)
        gates.done()

    RelaySession.begin, RelaySession.commit = beginning, committing  # type: ignore[method-assign]
    Relay._drop_session = dropping  # type: ignore[method-assign]
    _gate(RelayLanes, "waiting", "read_lanes")
    _gate(WindowReader, "read", "read")


def _gate(cls: type, method: str, step: str) -> None:
    original: Callable[..., Any] = getattr(cls, method)

    def gated(self: Any, **options: Any) -> Any:
        told = gates.wait(step, "notice_eviction")
        answer = original(self, **options)  # an evicted relay notices here
        assert told == step
        gates.done()
        return answer

    setattr(cls, method, gated)


def gate_worker() -> None:
    """Let a worker ask for leave."""
    from django_eventbus.consumer import arrivals, retries
    from django_eventbus.consumer.due import DueLanes
    from django_eventbus.consumer.ownership import Ownership
    from django_eventbus.consumer.trouble import Fenced
    from django_eventbus.consumer.unit import Unit

    opening, take_due, find = arrivals.open_fenced, Ownership.take_due, DueLanes.find
    commit, leave, first = Unit._commit, Unit._leave, retries.Retries.open

    def taking(self: Any) -> Any:
        if not gates.may("take"):
            return []
        taken = take_due(self)
        if taken:
            gates.done()
        return taken

    def finding(self: Any) -> Any:
        return find(self) if gates.may("open_retry") else iter(())

    def opening_unit(*arguments: Any, **options: Any) -> Any:
        gates.wait("open_unit")
        return _opened(lambda: opening(*arguments, **options))

    def opening_retry(self: Any) -> None:
        gates.wait("open_retry")
        _opened(lambda: first(self))

    def _opened(action: Callable[[], Any]) -> Any:
        try:
            answer = action()
        except Fenced:
            gates.done(answer="fenced")
            raise
        gates.done()
        gates.wait("run")
        return answer

    def committing(self: Any) -> None:
        if gates.may("run"):
            gates.done(answer="ran")
        gates.wait("commit_unit")
        try:
            commit(self)
        except BaseException:
            gates.done(answer="undone")
            raise
        gates.done()

    def leaving(self: Any, exc: BaseException) -> None:
        leave(self, exc)
        if gates.may("run", "commit_unit"):
            gates.done(answer="undone")

    arrivals.open_fenced, retries.Retries.open = opening_unit, opening_retry  # type: ignore[method-assign]
    Ownership.take_due, DueLanes.find = taking, finding  # type: ignore[method-assign]
    Unit._commit, Unit._leave = committing, leaving  # type: ignore[method-assign]
