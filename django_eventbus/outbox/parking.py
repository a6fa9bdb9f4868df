"""Which messages step aside, for how long, and what does a verdict mean for the row that got it?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django_eventbus.events.envelope import OutgoingRow
from django_eventbus.models.relay_lanes import Lane, ParkedRow, Waiting
from django_eventbus.transports.base import Failure, FailureKind

TOPIC_PROBE = 5.0  # seconds until a topic, or a lane that met an outage, is tried again
FIRST_BACKOFF = 1.0  # seconds; doubled with each attempt of a key
LONGEST_BACKOFF = 60.0

ByCode = Mapping[str, Sequence[int]]  # the broker's name for the error -> ids


def backoff(attempts: int) -> float:
    """Return how long a key waits after so many failed attempts."""
    return min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(attempts - 1, 10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Sort the failures of one batch by what has to be done about them."""

    refused: ByCode = field(default_factory=dict)  # dead letters
    troubled: ByCode = field(default_factory=dict)  # the key waits
    homeless: ByCode = field(default_factory=dict)  # the whole topic waits
    outage: Failure | None = None  # transport or producer: nobody's fault
    is_fault: bool = False  # the producer itself is broken

    @classmethod
    def of(cls, failures: Mapping[int, Failure]) -> Findings:
        refused, troubled, homeless = defaultdict(list), defaultdict(list), defaultdict(list)
        outage: Failure | None = None
        for id_, failure in failures.items():
            match failure.kind:
                case FailureKind.PERMANENT:
                    refused[failure.code].append(id_)
                case FailureKind.OTHER:
                    troubled[failure.code].append(id_)
                case FailureKind.TOPIC:
                    homeless[failure.code].append(id_)
                case FailureKind.PRODUCER_FAULT:
                    outage = failure
                case FailureKind.TRANSPORT_DOWN:
                    outage = outage or failure
                case FailureKind.NOT_SENT:
                    pass
        is_fault = outage is not None and outage.kind is FailureKind.PRODUCER_FAULT
        return cls(refused=refused, troubled=troubled, homeless=homeless, outage=outage, is_fault=is_fault)


class Aside:
    """Know which keys and topics of a share wait, so that their later messages wait behind them."""

    def __init__(self, waiting: Waiting) -> None:
        self.lanes = lanes = waiting.lanes
        self._behind = waiting.behind
        self._topics = {lane.topic for lane in lanes if lane.is_whole}
        # What has no key has no order: it waits for its topic only.
        self._keys = {(lane.topic, lane.key) for lane in lanes if not lane.is_whole and lane.key}

    def divide(self, rows: list[OutgoingRow]) -> tuple[list[OutgoingRow], list[int]]:
        """Return the rows that may be sent, and the ids of those that must wait."""
        if not self.lanes or not rows:
            return rows, []
        if self._behind is not None:
            aside = set(self._behind([row[0] for row in rows]))
        else:
            aside = {row[0] for row in rows if row[1] in self._topics or (row[1], row[2] or b"") in self._keys}
        return [row for row in rows if row[0] not in aside], [row[0] for row in rows if row[0] in aside]

    def takes(self, *, limit: int) -> list[tuple[Lane, int]]:
        """Say how many messages of each due lane come next: one alone as a probe, then a share of the batch."""
        due = [lane for lane in self.lanes if lane.is_due][:limit]
        flowing = sum(not lane.is_probing for lane in due)
        return [(lane, 1 if lane.is_probing else max(1, limit // flowing)) for lane in due]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneOutcome:
    """Be what happened to the messages that one lane sent, in their order."""

    lane: Lane
    sent: Sequence[ParkedRow]
    failed: Sequence[tuple[int, Failure]]

    @property
    def last_sent(self) -> int:
        """Return the id up to which everything has left the lane by being sent."""
        ids = [parked.row[0] for parked in self.sent]
        if self.failed:
            ids = [id_ for id_ in ids if id_ < self.failed[0][0]]
        return max(ids, default=self.lane.head_id)


def outcomes(
    takes: Iterable[tuple[Lane, int]], rows: Sequence[ParkedRow], failures: Mapping[int, Failure]
) -> Iterable[LaneOutcome]:
    """Divide what became of parked messages by lane; lanes without messages are left out."""
    of_lane: dict[int, list[ParkedRow]] = defaultdict(list)
    for parked in rows:
        of_lane[parked.lane_id].append(parked)
    for lane, _ in takes:
        if mine := of_lane.get(lane.id):
            ids = [parked.row[0] for parked in mine]
            yield LaneOutcome(
                lane=lane,
                sent=[parked for parked in mine if parked.row[0] not in failures],
                failed=[(id_, failures[id_]) for id_ in ids if id_ in failures],
            )
