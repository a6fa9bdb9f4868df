"""A sender that records the order of what it sends and fails on demand, and rows for it to send."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django_eventbus.conf import MEMORY_TRANSPORT, BusConfig, OutboxConfig
from django_eventbus.events.envelope import OutgoingRow, join_headers
from django_eventbus.events.keys import shard_of
from django_eventbus.models import ControlFlag, OutboxMessage
from django_eventbus.models.outbox import NewMessage
from django_eventbus.outbox.relay import Relay, RelayReport
from django_eventbus.transports.base import Failure, FailureKind, SendResult

Rule = Callable[[OutgoingRow], Failure | None]


class RecordingSender:
    """Acknowledge every row unless the rule fails it; later rows of a failed key are held back, as promised."""

    def __init__(self) -> None:
        self.sent: list[OutgoingRow] = []
        self.batches: list[list[int]] = []
        self.rule: Rule = lambda row: None
        self.error: Exception | None = None
        self.on_send: Callable[[], None] = lambda: None
        self.has_sent = threading.Event()
        self.is_closed = False

    def send(self, rows: Sequence[OutgoingRow], *, deadline: float) -> SendResult:
        self.batches.append([row[0] for row in rows])
        self.on_send()
        if self.error is not None:
            raise self.error
        acked: list[int] = []
        failures: dict[int, Failure] = {}
        stopped: set[tuple[str, bytes | None]] = set()
        for row in rows:
            failure = self.rule(row)
            if (row[1], row[2]) in stopped and (failure is None or failure.kind is not FailureKind.TOPIC):
                failures[row[0]] = Failure(FailureKind.NOT_SENT, "NOT_PRODUCED")
            elif failure is not None:
                failures[row[0]] = failure
                stopped.add((row[1], row[2]))
            else:
                acked.append(row[0])
                self.sent.append(row)
        if acked:
            self.has_sent.set()
        return SendResult(acked=acked, failures=failures)

    def serve(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True

    @property
    def payloads(self) -> list[str]:
        return [(row[4] or b"").decode() for row in self.sent]

    def of_key(self, key: str) -> list[str]:
        return [(row[4] or b"").decode() for row in self.sent if row[2] == key.encode()]


def failing(kind: FailureKind, *, code: str = "BROKEN", **wanted: str) -> Rule:
    """Fail rows whose topic, key or payload is the wanted one."""

    def rule(row: OutgoingRow) -> Failure | None:
        found = {"topic": row[1], "key": (row[2] or b"").decode(), "payload": (row[4] or b"").decode()}
        return Failure(kind, code) if all(found[name] == value for name, value in wanted.items()) else None

    return rule


def bus_config(alias: str = "default", *, transport: str = MEMORY_TRANSPORT, **outbox: Any) -> BusConfig:
    values = {"grace": timedelta(seconds=2), "send_deadline": timedelta(seconds=0.5), **outbox}
    return BusConfig(
        alias=alias,
        service="shop",
        source="/shop",
        group="shop-dev",
        outbox=OutboxConfig(**values),
        transport=transport,
    )


def new_message(payload: str, *, key: str = "k", topic: str = "orders", bus: str = "default") -> NewMessage:
    event_id = uuid.uuid4()
    headers = [("ce_specversion", "1.0"), ("ce_id", str(event_id)), ("ce_type", "t.placed"), ("ce_source", "/shop")]
    return NewMessage(
        event_id=event_id,
        bus=ControlFlag.objects.bus_number(bus),
        shard=shard_of(key.encode()),
        topic=topic,
        key=key.encode() or None,
        headers=join_headers([*headers, ("ce_correlationid", "c-1")]),
        payload=payload.encode(),
        event_name="t.placed",
    )


def append(*payloads: str, key: str = "k", topic: str = "orders", bus: str = "default") -> None:
    OutboxMessage.objects.append([new_message(payload, key=key, topic=topic, bus=bus) for payload in payloads])


def drain(
    sender: RecordingSender, config: BusConfig | None = None, *, timeout: float = 10, **kwargs: Any
) -> RelayReport:
    """Relay until nothing is left, or the time is over."""
    relay = Relay(config or bus_config(), lambda: sender, **kwargs)
    return relay.run(threading.Event(), until_empty=True, timeout=timeout)


@contextmanager
def relaying(sender: RecordingSender, config: BusConfig | None = None, **kwargs: Any) -> Iterator[Relay]:
    """Run a relay in a thread of its own."""
    relay = Relay(config or bus_config(), lambda: sender, **kwargs)
    stop = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            relay.run(stop)
        except BaseException as error:
            errors.append(error)
            raise
        finally:
            from django.db import connections

            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield relay
    finally:
        stop.set()
        relay.wake()
        thread.join(20)
    assert not thread.is_alive()
    assert not errors


def eventually(condition: Callable[[], object], *, within: float = 40) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
