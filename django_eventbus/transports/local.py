"""How do events reach the handlers of this project when there is no broker?

The relay is the carrier: what it would send to a broker, it hands to the handlers, with inbox, retries and dead letters
as anywhere else. So events survive a crash, and the same code runs on Kafka later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import NoReturn

from django_eventbus.conf import BusConfig
from django_eventbus.events.envelope import OutgoingRow, split_headers
from django_eventbus.exceptions import ConfigurationError

from .base import Capabilities, ConsumerOptions, Failure, FailureKind, Record, SendResult

Deliver = Callable[[Sequence[Record], float], int]  # records, seconds -> how many of the first ones are done

PARTITION = 0  # one per group: the shard locks decide who works
_BEHIND = Failure(FailureKind.NOT_SENT, "not_delivered_yet")


class LocalSender:
    """Hand rows to the handlers instead of a broker; a row counts as acknowledged once the inbox has taken it."""

    def __init__(self, deliver: Deliver, *, close: Callable[[], None] | None = None) -> None:
        self._deliver = deliver
        self._close = close

    def send(self, rows: Sequence[OutgoingRow], *, deadline: float) -> SendResult:
        now = datetime.now(UTC)
        done = self._deliver([record_of(row, received_at=now) for row in rows], deadline)
        ids = [row[0] for row in rows]
        return SendResult(acked=ids[:done], failures=dict.fromkeys(ids[done:], _BEHIND))

    def serve(self) -> None:
        """Do nothing: there is no client."""

    def close(self) -> None:
        """Let the handlers' side leave things in order; there is no client."""
        if self._close is not None:
            self._close()


class LocalTransport:
    """Run the handlers where the relay runs: in a background thread of this process, or in `drain_outbox`."""

    capabilities = Capabilities(ordered=True, consumable=False, replayable=False, max_message_bytes=None)

    def __init__(self, config: BusConfig, *, deliver: Deliver | None = None) -> None:
        self._config = config
        self._deliver = deliver

    def open_sender(self, *, client_id: str) -> LocalSender:
        if self._deliver is None:
            raise ConfigurationError(
                f"EVENTBUS[{self._config.alias!r}]: the local transport carries events to handlers, but was built "
                f"without them. Open the relay through the bus: buses[{self._config.alias!r}].open_relay()."
            )
        return LocalSender(self._deliver)

    def open_consumer(self, options: ConsumerOptions) -> NoReturn:
        raise ConfigurationError(
            f"EVENTBUS[{self._config.alias!r}]['TRANSPORT'] is local: the relay runs the handlers, so there is nothing "
            "to consume. Run drain_outbox, or nothing at all: the process that publishes does it in the background."
        )

    def missing_topics(self, topics: Collection[str]) -> set[str]:
        return set()

    def create_topics(self, topics: Collection[str]) -> None:
        """Do nothing: no topic has to exist."""


def record_of(row: OutgoingRow, *, received_at: datetime | None = None) -> Record:
    """Turn an outbox row into the record that a broker would have made of it."""
    offset, topic, key, headers, payload = row
    pairs = [(name, value.encode()) for name, value in split_headers(headers)]
    return Record(
        topic=topic,
        partition=PARTITION,
        offset=offset,
        key=None if key is None else bytes(key),
        value=None if payload is None else bytes(payload),
        headers=pairs,
        received_at=received_at,
    )
