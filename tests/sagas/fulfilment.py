"""A saga that reserves, waits for the payment and ships, with messages that a test feeds to it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django_eventbus.conf import BusConfig, load
from django_eventbus.consumer.local import LocalDeliverer
from django_eventbus.delivery.registry import groups_of
from django_eventbus.events.contract import event
from django_eventbus.events.registry import events
from django_eventbus.models import OutboxMessage, RetryMessage, SagaHistory, SagaState, ScheduledMessage
from django_eventbus.models.outbox import HELD_UNTIL
from django_eventbus.sagas.routing import on, on_timeout, starts, starts_or_on
from django_eventbus.sagas.saga import Saga
from django_eventbus.transports.base import Record
from django_eventbus.transports.local import record_of

TOPIC = "dev.shop.public.orders.v1"


@event("shop.orders.placed", entity="order", domain="shop", key="order_id")
class Placed:
    order_id: str
    total: int = 0


@event("shop.orders.reserved", entity="order", domain="shop", key="order_id")
class Reserved:
    order_id: str
    note: str = ""


@event("shop.orders.paid", entity="order", domain="shop", key="order_id")
class Paid:
    order_id: str


@event("shop.orders.touched", entity="order", domain="shop", key="order_id")
class Touched:
    order_id: str


@event("shop.orders.failed", entity="order", domain="shop", key="order_id")
class Failed:
    order_id: str


@event("shop.stock.reserve", topic="stock", domain="shop", key="order_id")
class Reserve:
    order_id: str


@event("shop.stock.release", topic="stock", domain="shop", key="order_id")
class Release:
    order_id: str


@event("shop.payments.refund", topic="payments", domain="shop", key="order_id")
class Refund:
    order_id: str


@event("shop.orders.shipped", topic="shipments", domain="shop", key="order_id")
class Shipped:
    order_id: str


@dataclass
class Fulfilment:
    steps: list[str] = field(default_factory=list)
    touches: int = 0
    reminders: int = 0
    note: str = ""


class Scene:
    """A saga class declared for one test, and a deliverer that feeds it here and now."""

    def __init__(self, alias: str = "default", **settings: Any) -> None:
        retry = {"DELAYS": (60,), "JITTER": 0, "MAX_ATTEMPTS": 3}
        raw = {"DOMAIN": "shop", "SERVICE": "shop", "RETRY": retry, **settings}
        self.config: BusConfig = load({"default": raw, alias: raw})[alias]
        self._deliverer: LocalDeliverer | None = None
        self._offset = 0

    @property
    def deliverer(self) -> LocalDeliverer:
        if self._deliverer is None:
            self._deliverer = LocalDeliverer(self.config, groups_of(self.config))
        return self._deliverer

    def record(self, message: object, *, message_id: str = "", topic: str = TOPIC) -> Record:
        """Make the record of an event as the broker would deliver it."""
        contract = events.contract_of(message)
        self._offset += 1
        headers = {
            "specversion": "1.0",
            "id": message_id or str(uuid.uuid4()),
            "type": contract.name,
            "source": self.config.source,
        }
        pairs: list[tuple[str, bytes | None]] = [(f"ce_{name}", text.encode()) for name, text in headers.items()]
        pairs.append(("content-type", b"application/json"))
        key = contract.key(message, self.config)
        data = contract.codec.encode(message)
        return Record(topic, 0, self._offset, key.encode() if key else None, data, pairs, None)

    def deliver(self, *messages: object) -> None:
        self.deliver_records(*map(self.record, messages))

    def deliver_records(self, *records: Record) -> None:
        assert self.deliverer.deliver(records, 10.0) == len(records)

    def retry(self) -> None:
        """Let the time of everything that waits come, but not of what waits for a verdict; then run it."""
        timed = RetryMessage.objects.filter(available_at__lt=HELD_UNTIL)
        timed.update(available_at="2020-01-01T00:00:00Z")
        self.deliverer.run_due_retries()

    def fire(self, name: str) -> None:
        """Deliver the timeout that waits under this name."""
        self.deliver_records(self.take_timeout(name))

    def take_timeout(self, name: str) -> Record:
        """Take a timeout out of the table, as the relay does when it is due."""
        row = ScheduledMessage.objects.get(event_id=armed_ids()[name])
        ScheduledMessage.objects.filter(pk=row.pk).delete()
        self._offset += 1
        key = None if row.key is None else bytes(row.key)
        return record_of((self._offset, row.topic, key, row.headers, bytes(row.payload)))

    def deliver_outbox(self, event_name: str) -> None:
        """Deliver what the outbox holds under this name."""
        row = OutboxMessage.objects.get(event_name=event_name)
        self._offset += 1
        key = None if row.key is None else bytes(row.key)
        self.deliver_records(record_of((self._offset, row.topic, key, row.headers, bytes(row.payload))))

    def close(self) -> None:
        if self._deliverer is not None:
            self._deliverer.close()


def armed_ids(key: str = "1") -> dict[str, str]:
    """Return the ids of the timeouts that an instance waits for."""
    return {name: each[0] for name, each in json.loads(SagaState.objects.get(key=key).timeouts).items()}


def declare(**options: Any) -> type[Saga[Fulfilment]]:
    """Declare the saga, with other options than usual."""

    class OrderSaga(Saga[Fulfilment], name="shop.OrderSaga", correlate="order_id", **options):
        @starts(Placed)
        def begin(self, event: Placed) -> Reserve:
            self.state.steps.append("placed")
            self.schedule_timeout("payment", timedelta(minutes=10))
            return Reserve(order_id=event.order_id)

        @on(Reserved)
        def reserved(self, event: Reserved) -> None:
            self.state.steps.append("reserved")
            self.state.note = event.note
            self.add_compensation(Release(order_id=event.order_id))

        @on(Paid)
        def paid(self, event: Paid) -> Shipped:
            self.state.steps.append("paid")
            self.add_compensation(Refund(order_id=event.order_id))
            self.complete()
            return Shipped(order_id=event.order_id)

        @starts_or_on(Touched)
        def touched(self, event: Touched) -> None:
            self.state.touches += 1

        @on(Failed)
        def failed(self, event: Failed) -> None:
            self.compensate()

        @on_timeout("payment")
        def remind(self) -> None:
            self.state.reminders += 1
            if self.state.reminders < 3:
                self.schedule_timeout("payment", timedelta(minutes=10))
            else:
                self.compensate()

    return OrderSaga


def state_of(key: str = "1") -> dict[str, Any]:
    """Return the stored state of an instance."""
    state: dict[str, Any] = json.loads(SagaState.objects.get(key=key).state or "null")
    return state


def history_of(key: str = "1") -> list[tuple[str, str]]:
    """Return message and outcome of each step of an instance."""
    rows = SagaHistory.objects.filter(instance_id=SagaState.objects.get(key=key).pk).order_by("version")
    return list(rows.values_list("message", "outcome"))


def published() -> list[str]:
    """Return the names of the events in the outbox, in order."""
    return list(OutboxMessage.objects.order_by("id").values_list("event_name", flat=True))
