"""What must a transport be able to do, and in which words does it answer?"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NamedTuple, Protocol

from django_eventbus.events.envelope import OutgoingRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Say what a transport can do, so that commands and checks need not know its name."""

    ordered: bool  # keeps the order of one key
    consumable: bool  # `consume_events` can read it; False where the relay itself runs the handlers
    replayable: bool  # keeps records after they were read
    max_message_bytes: int | None  # None: no limit of its own


class FailureKind(Enum):
    """Say what a relay must do with a row that was not acknowledged."""

    TRANSPORT_DOWN = "transport_down"  # back off, no attempt counted
    PRODUCER_FAULT = "producer_fault"  # never the row's fault: back off, loud
    TOPIC = "topic"  # the whole topic steps aside, no attempt
    PERMANENT = "permanent"  # dead letter
    OTHER = "other"  # the key steps aside, attempt + back-off
    NOT_SENT = "not_sent"  # innocent: behind a refused row, purged, or past the deadline; comes with the next read


class Failure(NamedTuple):
    """The final verdict on one row: its kind, and the broker's own name for the error."""

    kind: FailureKind
    code: str

    @property
    def told(self) -> str:
        """Say to operators why nothing is sent; the code alone is the client's language."""
        match self.kind:
            case FailureKind.TRANSPORT_DOWN:
                what = "broker unreachable"
            case FailureKind.PRODUCER_FAULT:
                what = "broker refuses this producer"
            case _:
                what = "nothing gets through"
        return f"{what} ({self.code})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult:
    """What became of one batch: every row is either in `acked` or a key of `failures`."""

    acked: Sequence[int]
    failures: Mapping[int, Failure] = field(default_factory=dict)


class Sender(Protocol):
    """Send outbox rows; owned by one relay, used by one thread."""

    def send(self, rows: Sequence[OutgoingRow], *, deadline: float) -> SendResult:
        """Send rows in their order and wait at most `deadline` seconds; give a final verdict on each.

        Rows of one (topic, key) are never acknowledged around an earlier one that was not.
        """

    def serve(self) -> None:
        """Let the client do its background work (callbacks, logs); called while the relay is idle."""

    def close(self) -> None:
        """Release the client; what is still queued in it is given up."""


class TopicPartition(NamedTuple):
    """Name one partition of one topic."""

    topic: str
    number: int


class Record(NamedTuple):
    """One record as it came from the broker: exact bytes, nothing interpreted."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    received_at: datetime | None  # when this process, or an earlier one, took it from the broker


class AssignmentListener(Protocol):
    """Hear about partitions; called by `Consumer.poll` and `Consumer.close`, on their thread."""

    def assigned(self, partitions: Collection[TopicPartition]) -> None: ...
    def revoked(self, partitions: Collection[TopicPartition]) -> None: ...
    def lost(self, partitions: Collection[TopicPartition]) -> None: ...

    def reached_end(self, partition: TopicPartition, offset: int) -> None:
        """Every record below `offset` has been returned by `poll`, and there is none behind it now."""

    def failed(self, code: str, reason: str) -> None:
        """The broker or the client reports an error; polling goes on, except after `_FATAL`.

        A subscribed topic that does not exist is reported where the client is told; with KIP-848 it is not, so ask
        `missing_topics` before.
        """


class Consumer(Protocol):
    """Read records as a member of a group; every method belongs to the one thread that polls."""

    def subscribe(self, topics: Collection[str], *, listener: AssignmentListener) -> None: ...

    def poll(self, *, timeout: float, limit: int) -> list[Record]:
        """Return up to `limit` records, waiting at most `timeout` seconds for the first one."""

    def store(self, positions: Mapping[TopicPartition, int]) -> None:
        """Store next offsets to be committed in the background; partitions no longer assigned are ignored."""

    def seek(self, partition: TopicPartition, offset: int) -> None: ...
    def pause(self, partitions: Collection[TopicPartition]) -> None: ...
    def resume(self, partitions: Collection[TopicPartition]) -> None: ...
    def assignment(self) -> set[TopicPartition]: ...
    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int | None]: ...
    def first_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]: ...
    def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]: ...
    def partitions_of(self, topics: Collection[str]) -> set[TopicPartition]: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerOptions:
    """What a worker asks of its consumer."""

    group: str
    client_id: str
    instance_id: str | None = None  # static membership
    report_ends: bool = False  # call `reached_end`


class Transport(Protocol):
    """Move bytes between an outbox and handlers. Built from a BusConfig; contacts nothing until asked to."""

    capabilities: Capabilities

    def open_sender(self, *, client_id: str) -> Sender: ...
    def open_consumer(self, options: ConsumerOptions) -> Consumer: ...

    def missing_topics(self, topics: Collection[str]) -> set[str]:
        """Return those that do not exist; raise TransportUnavailable if nobody answers."""

    def create_topics(self, topics: Collection[str]) -> None:
        """Create topics with the broker's default partitions; existing ones are left alone."""
