"""What becomes of the rows of a batch, once the broker has spoken?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from django_eventbus.events.envelope import Envelope, OutgoingRow
from django_eventbus.models.relay_dead import DeadRow
from django_eventbus.models.relay_lanes import Lane, ParkedRow, Waiting
from django_eventbus.transports.base import SendResult

from .dead_letters import describe, envelope_of
from .parking import TOPIC_PROBE, Findings, LaneOutcome, backoff


class Lanes(Protocol):
    """Be the verbs of the lanes; models/relay_lanes.py says what each one promises."""

    def waiting(self, *, limit: int) -> Waiting: ...
    def read(self, takes: Sequence[tuple[Lane, int]]) -> list[ParkedRow]: ...
    def park(
        self, ids: Sequence[int], *, reason: str, is_whole: bool, attempts: int, wait: float | None
    ) -> list[int]: ...
    def hold(self, ids: Sequence[int], *, reason: str) -> None: ...
    def join(self, ids: Sequence[int]) -> list[int]: ...
    def split(self, lane: Lane, ids: Sequence[int], *, reason: str, attempts: int, wait: float | None) -> None: ...
    def remove_sent(self, rows: Sequence[ParkedRow]) -> None: ...
    def advance(self, lane: Lane, *, head_id: int) -> None: ...
    def postpone(self, lane: Lane, *, reason: str, attempts: int, head_id: int, wait: float | None) -> None: ...
    def close(self, lanes: Sequence[Lane]) -> None: ...
    def bury(self, lane: Lane | None, rows: Sequence[DeadRow], *, code: str) -> dict[int, int]: ...


class Session(Protocol):
    """Be one relay's way to its tables: models/relay.py on PostgreSQL, models/relay_plain.py elsewhere."""

    @property
    def lanes(self) -> Lanes: ...
    def settling(self) -> AbstractContextManager[None]: ...
    def remove_sent(self, ids: Sequence[int]) -> None: ...


class Buried(NamedTuple):
    """Be one message that became a dead letter."""

    dead_letter_id: int
    envelope: Envelope | None
    code: str
    attempt: int


class Settlement:
    """Write down verdicts, inside the transaction of one step, and remember what has left the outbox."""

    def __init__(self, session: Session, *, is_holding_keys: bool) -> None:
        self._session = session
        self._lanes = session.lanes
        self._is_holding_keys = is_holding_keys
        self.sent = 0
        self.parked = 0
        self.buried: list[Buried] = []
        self.gone: set[int] = set()  # ids that were read from the outbox and are no longer there

    def settle(self, rows: Sequence[OutgoingRow], result: SendResult) -> Findings:
        """Settle rows of the outbox; those without a verdict stay and come with the next read."""
        acked = list(result.acked)
        if acked:
            self._session.remove_sent(acked)
            self.gone.update(acked)
            self.sent += len(acked)
        findings = Findings.of(result.failures)
        if not result.failures:
            return findings
        for code, ids in findings.refused.items():
            if self._is_holding_keys and (keyed := [row[0] for row in rows if row[2] and row[0] in set(ids)]):
                self._lanes.hold(keyed, reason=code)
            self._bury(None, [row for row in rows if row[0] in set(ids)], code=code)
            self.gone.update(ids)
        # Keys before topics: a key's own lane is where its later rows, refused with their topic, must go.
        for code, ids in findings.troubled.items():
            self._note(self._lanes.park(ids, reason=code, is_whole=False, attempts=1, wait=backoff(1)))
        for code, ids in findings.homeless.items():
            self._note(self._lanes.park(ids, reason=code, is_whole=True, attempts=0, wait=TOPIC_PROBE))
        return findings

    def let_aside(self, ids: Sequence[int]) -> None:
        """Move outbox rows behind those of their key or topic that wait already."""
        self._note(self._lanes.join(ids))

    def settle_lanes(self, rows: Sequence[ParkedRow], outcomes: Iterable[LaneOutcome]) -> None:
        """Settle what the due lanes have sent."""
        row_of = {parked.row[0]: parked.row for parked in rows}
        for outcome in outcomes:
            if outcome.sent:
                self._lanes.remove_sent(outcome.sent)
                self.sent += len(outcome.sent)
            if outcome.failed:
                self._settle_failures(outcome, row_of)
            else:
                self._lanes.advance(outcome.lane, head_id=outcome.last_sent)

    def _settle_failures(self, outcome: LaneOutcome, row_of: Mapping[int, OutgoingRow]) -> None:
        lane, head = outcome.lane, outcome.last_sent
        findings = Findings.of(dict(outcome.failed))
        if lane.is_whole:
            self._split(lane, findings, row_of)
        for code, ids in findings.refused.items():
            self._bury(lane, [row_of[id_] for id_ in ids], code=code)
        if findings.homeless:
            self._postpone(outcome, reason=next(iter(findings.homeless)), head_id=0)
        elif findings.troubled and not lane.is_whole:
            attempts, reason = lane.attempts + 1, next(iter(findings.troubled))
            self._lanes.postpone(lane, reason=reason, attempts=attempts, head_id=head, wait=backoff(attempts))
        elif findings.refused and not lane.is_whole and lane.key and self._is_holding_keys:
            self._lanes.postpone(lane, reason=next(iter(findings.refused)), attempts=1, head_id=head, wait=None)
        elif outcome.sent:
            self._lanes.advance(lane, head_id=head)
        elif not findings.refused and not findings.troubled:
            # No verdict: the transport is down, or this place of it is silent. Nobody's fault, so no attempt.
            self._postpone(outcome, reason=outcome.failed[0][1].code, head_id=lane.head_id)

    def _split(self, lane: Lane, findings: Findings, row_of: Mapping[int, OutgoingRow]) -> None:
        """Let a key in trouble leave the lane of its topic: the others there are not to wait for it."""
        for code, ids in findings.troubled.items():
            self._lanes.split(lane, ids, reason=code, attempts=1, wait=backoff(1))
        if self._is_holding_keys:
            for code, ids in findings.refused.items():
                if keyed := [id_ for id_ in ids if row_of[id_][2]]:
                    self._lanes.split(lane, keyed, reason=code, attempts=1, wait=None)

    def _postpone(self, outcome: LaneOutcome, *, reason: str, head_id: int) -> None:
        lane = outcome.lane
        self._lanes.postpone(lane, reason=reason, attempts=lane.attempts, head_id=head_id, wait=TOPIC_PROBE)

    def _bury(self, lane: Lane | None, rows: Sequence[OutgoingRow], *, code: str) -> None:
        envelopes = {row[0]: envelope_of(row) for row in rows}
        dead = [describe(row, envelope=envelopes[row[0]]) for row in rows]
        attempt = 1 if lane is None else lane.attempts + 1
        for id_, dead_letter_id in self._lanes.bury(lane, dead, code=code).items():
            self.buried.append(Buried(dead_letter_id, envelopes[id_], code, attempt))

    def _note(self, moved: Sequence[int]) -> None:
        self.gone.update(moved)
        self.parked += len(moved)
