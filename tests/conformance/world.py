"""One bus at work: a relay, and a worker for each group, in threads of their own until the world is closed."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Protocol

import pytest
from django.db import connections, transaction
from django.test import override_settings

from django_eventbus import publish, publish_many
from django_eventbus.bus import Bus, buses
from django_eventbus.events.envelope import join_headers
from django_eventbus.events.naming import topic_of
from django_eventbus.events.registry import events
from django_eventbus.models import ControlFlag, OutboxMessage
from django_eventbus.models.outbox import NewMessage
from django_eventbus.outbox.wakeup import waking_in_tests
from django_eventbus.transports.base import Record
from django_eventbus.transports.local import LocalTransport
from django_eventbus.transports.memory import MemoryTransport
from tests.conformance.happenings import Counted, Doubled

PATIENCE = 30.0
STOP_PATIENCE = 20.0
QUICK = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 300, "auto.commit.interval.ms": 100}
QUICK_RETRIES = {"MAX_ATTEMPTS": 3, "DELAYS": (0.05,), "JITTER": 0}

Headers = Sequence[tuple[str, bytes | None]]


class Medium(Protocol):
    """Be what one transport needs around it."""

    def settings(self) -> dict[str, Any]: ...
    def create_topic(self, name: str, partitions: int) -> None: ...
    def inject(self, bus: Bus, topic: str, *, key: bytes | None, value: bytes | None, headers: Headers) -> None: ...


class World:
    """Settings, topics, relay and workers of one test. `start` comes after the handlers are declared."""

    def __init__(self, medium: Medium, *, partitions: int = 3, **settings: Any) -> None:
        self._exits = ExitStack()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        self._medium = medium
        unique = f"t{uuid.uuid4().hex[:12]}"
        # The domain is in the name of every topic: no test sees the records of another.
        own = {"SERVICE": "tests", "DOMAIN": unique, "GROUP": f"group-{unique}", "RETRY": QUICK_RETRIES}
        self._exits.enter_context(override_settings(EVENTBUS={"default": own | medium.settings() | settings}))
        self._exits.enter_context(waking_in_tests())
        self.bus = buses["default"]
        for topic in sorted(map(self.topic, (Counted, Doubled))):
            medium.create_topic(topic, partitions)

    def start(self, *, workers: int = 1) -> None:
        """Start the relay, and workers for each group where there is something to consume."""
        self.start_relay()
        for _ in range(workers):
            self.start_worker()

    def start_relay(self) -> None:
        self._spawn("relay", lambda: self.bus.open_relay().run(self._stop))

    def start_worker(self) -> None:
        if isinstance(self.bus.transport, LocalTransport):
            return  # the relay is the worker
        for group in self.bus.groups.values():
            self._spawn("worker", partial(self.bus.open_worker(group).run, self._stop))

    def publish(self, *made: object, **options: Any) -> list[uuid.UUID]:
        """Publish events in one transaction."""
        with transaction.atomic():
            if len(made) == 1:
                return [publish(made[0], **options)]
            return publish_many(made, **options)

    def topic(self, event_class: type[Any]) -> str:
        return topic_of(events.contract_of(event_class), self.bus.config)

    @property
    def source(self) -> str:
        return self.bus.config.source

    def inject(
        self, topic: str, *, key: bytes | None = None, value: bytes | None = b"{}", headers: Headers = ()
    ) -> None:
        """Put a record on a topic past our own publishing, as somebody else's producer would."""
        self._medium.inject(self.bus, topic, key=key, value=value, headers=headers)

    def wait_until(self, is_so: Callable[[], object], *, patience: float = PATIENCE) -> None:
        """Wait for a condition; fail when it does not come, or as soon as relay or worker has failed."""
        ends_at = time.monotonic() + patience
        while not is_so():
            if self._failures:
                raise AssertionError(f"a thread has failed: {self._failures[0]!r}") from self._failures[0]
            if time.monotonic() > ends_at:
                pytest.fail(f"the condition was not reached within {patience} s")
            time.sleep(0.02)

    def close(self) -> None:
        """Stop everything; what does not end in time fails the test."""
        try:
            self._stop.set()
            for thread in self._threads:
                thread.join(STOP_PATIENCE)
            alive = [thread.name for thread in self._threads if thread.is_alive()]
            self._threads.clear()
            assert not alive, f"still running: {alive}"
            assert not self._failures, self._failures
        finally:
            self._exits.close()

    def _spawn(self, name: str, run: Callable[[], object]) -> None:
        def work() -> None:
            try:
                run()
            except BaseException as exc:
                self._failures.append(exc)
                raise SystemExit from exc
            finally:
                connections.close_all()

        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()


class CreateTopic(Protocol):
    def __call__(self, name: str, *, partitions: int) -> object: ...


class KafkaMedium:
    """Apache Kafka, or librdkafka's mock cluster."""

    def __init__(self, address: str, create: CreateTopic, **consumer_options: Any) -> None:
        self._address = address
        self._create = create
        self._consumer_options = QUICK | consumer_options

    def settings(self) -> dict[str, Any]:
        return {
            "TRANSPORT": "kafka",
            "OPTIONS": {"bootstrap.servers": self._address},
            "CONSUMER_OPTIONS": self._consumer_options,
        }

    def create_topic(self, name: str, partitions: int) -> None:
        self._create(name, partitions=partitions)

    def inject(self, bus: Bus, topic: str, *, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        from confluent_kafka import Producer

        refused: list[object] = []
        producer = Producer({"bootstrap.servers": self._address, "message.max.bytes": 2_000_000})
        producer.produce(
            topic, value=value, key=key, headers=list(headers), on_delivery=lambda error, _: refused.append(error)
        )
        assert producer.flush(PATIENCE) == 0
        assert refused == [None]


class MemoryMedium:
    """The broker in memory."""

    def settings(self) -> dict[str, Any]:
        return {"TRANSPORT": "memory"}

    def create_topic(self, name: str, partitions: int) -> None:
        """Do nothing: the broker makes topics when they are needed."""

    def inject(self, bus: Bus, topic: str, *, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        assert isinstance(bus.transport, MemoryTransport)
        broker = bus.transport.broker
        with broker.changed:
            broker.create_topic(topic)
            partition = broker.topics[topic][0]
            partition.append(Record(topic, 0, len(partition), key, value, headers, None))
            broker.changed.notify_all()


class LocalMedium:
    """No broker: the relay runs the handlers."""

    def settings(self) -> dict[str, Any]:
        return {"TRANSPORT": "local"}

    def create_topic(self, name: str, partitions: int) -> None:
        """Do nothing: there are no topics."""

    def inject(self, bus: Bus, topic: str, *, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        pairs = [(name, (text or b"").decode()) for name, text in headers]
        message = NewMessage(
            event_id=uuid.uuid4(),
            bus=ControlFlag.objects.bus_number("default"),
            shard=0,
            topic=topic,
            key=key,
            headers=join_headers(pairs),
            payload=value or b"",
            event_name="",
        )
        with transaction.atomic():
            OutboxMessage.objects.append([message])
