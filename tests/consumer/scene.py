"""Messages of a counter per key, handlers that write down what they do, and a deliverer that runs them here and now."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from django_eventbus.conf import BusConfig, load
from django_eventbus.consumer.local import LocalDeliverer
from django_eventbus.delivery.registry import groups_of, handler
from django_eventbus.events.contract import event
from django_eventbus.models import RetryMessage
from django_eventbus.models.outbox import HELD_UNTIL
from django_eventbus.transports.base import Record
from tests.shop.models import Effect

TOPIC = "dev.shop.public.counters.v1"


@event("shop.counters.counted", entity="counter", domain="shop", key="key")
class Counted:
    key: str
    number: int


def config(**settings: Any) -> BusConfig:
    retry = {"DELAYS": (60,), "JITTER": 0, "MAX_ATTEMPTS": 3}
    return load({"default": {"DOMAIN": "shop", "SERVICE": "counters", "RETRY": retry, **settings}})["default"]


def counted(
    number: int, key: str | None = "a", *, offset: int | None = None, message_id: str | None = None, **more: Any
) -> Record:
    """Make the record of one count; its offset is its number unless told otherwise."""
    name = message_id or str(uuid.uuid5(uuid.NAMESPACE_URL, f"{key}/{number}"))
    headers = {"specversion": "1.0", "id": name, "type": "shop.counters.counted", "source": "/tests"}
    pairs = [(f"ce_{name}", text.encode()) for name, text in headers.items()]
    value = more.get("value", json.dumps({"key": key or "", "number": number}).encode())
    place = number if offset is None else offset
    record_key = None if key is None else key.encode()
    return Record(TOPIC, 0, place, record_key, value, [*pairs, ("content-type", b"application/json")], None)


def note(name: str, event: Counted) -> None:
    """Write down that a handler ran."""
    Effect.objects.create(handler=name, key=event.key, number=event.number)


def noted(name: str, key: str | None = None) -> list[int]:
    """Return the numbers that a handler wrote down, in order."""
    rows = Effect.objects.filter(handler=name).order_by("id")
    return list((rows if key is None else rows.filter(key=key)).values_list("number", flat=True))


class Scene:
    """A deliverer over the handlers that a test declares."""

    def __init__(self, **settings: Any) -> None:
        self.config = config(**settings)
        self._deliverer: LocalDeliverer | None = None

    def handles(self, name: str, fails: Callable[[Counted], object] = lambda event: None, **options: Any) -> None:
        """Declare a handler that notes each event, then does what `fails` does."""

        def function(event: Counted) -> None:
            note(name, event)
            fails(event)

        handler(Counted, name=name, **options)(function)

    @property
    def deliverer(self) -> LocalDeliverer:
        if self._deliverer is None:
            self._deliverer = LocalDeliverer(self.config, groups_of(self.config))
        return self._deliverer

    def deliver(self, *records: Record) -> int:
        return self.deliverer.deliver(records, 10.0)

    def retry(self) -> None:
        """Let the time of everything that waits come, but not of what waits behind or for a verdict; then run it."""
        timed = RetryMessage.objects.filter(available_at__lt=HELD_UNTIL)
        timed.update(available_at="2020-01-01T00:00:00Z")
        self.deliverer.run_due_retries()

    def deploy(self) -> None:
        """Go on with the handlers that are declared by now."""
        self.close()
        self._deliverer = None

    def close(self) -> None:
        if self._deliverer is not None:
            self._deliverer.close()
