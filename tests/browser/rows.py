"""Rows as they are on a bad day: every table has some, in every state that an operator meets."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

from django.utils import timezone

from django_eventbus import buses
from django_eventbus.delivery.replay import discard, replay
from django_eventbus.events.envelope import join_headers
from django_eventbus.events.identifiers import uuid7
from django_eventbus.models import (
    ControlFlag,
    DeadLetter,
    InboxMessage,
    OutboxLane,
    OutboxMessage,
    ParkedMessage,
    PartitionEpoch,
    RecurringEvent,
    RetryMessage,
    ScheduledMessage,
    SentMessage,
)
from django_eventbus.models.dead_letter import DeadLetterReason, Direction, pack_headers
from django_eventbus.models.inbox import inbox_key
from django_eventbus.models.outbox import HELD_UNTIL, NewMessage
from django_eventbus.models.retry import lane_of
from django_eventbus.recurrence.operations import pause
from django_eventbus.recurrence.registry import recurrings
from django_eventbus.recurrence.runner import RecurringRunner
from django_eventbus.testing import drain

from .fulfilment import fill_sagas
from .shop import place_order

GROUP, TOPIC = "shop-prod", "prod.shop.public.orders.v1"
PAYLOAD = (
    b'{"order_id":"5b0c4f0e-6f0e-4c38-9d5d-0d5ce2a3f1c7","customer":"Grace Hopper","country":"Chile","total":"99.90"}'
)
TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/shop/billing/handlers.py", line 41, in issue_invoice
    receipt = gateway.charge(order=event.order_id, cents=event.cents)
  File "/srv/shop/billing/gateway.py", line 88, in charge
    response = self.session.post(self.address, json=body, timeout=5)
requests.exceptions.ConnectTimeout: the gateway did not answer within 5 s
"""
REFUSED = "prod.shop.public.invoices.v1"


def fill_every_table() -> None:
    fail_for_real()
    fill_sagas()
    fill_inbound()
    fill_outbound()
    fill_recurring()
    fill_schedule()


def fail_for_real() -> None:
    """Let the shop's own handlers fail and succeed, and let operators act."""
    for number, country in enumerate(("Austria", "Atlantis", "Austria", "Atlantis", "Avalon")):
        place_order(country, customer=f"customer {number}", total=f"{number + 3}0.00")
    drain()
    first, second, _ = DeadLetter.objects.order_by("id").values_list("id", flat=True)
    replay([first], actor="nina", reason="tax rate entered", using="default")
    discard([second], actor="omar", reason="a test order of ours", using="default")


def fill_inbound() -> None:
    partition = PartitionEpoch.objects.create(
        group=GROUP,
        topic=TOPIC,
        number=3,
        epoch=4,
        owner="worker-7f9c:1:0",
        is_clean=False,
        low_water=81442,
        handlers=["billing.issue_invoice", "crm.update_customer", "shipping.pack_parcel"],
    )
    PartitionEpoch.objects.create(
        group=GROUP,
        topic=TOPIC,
        number=4,
        epoch=9,
        owner="worker-1b2d:1:0",
        is_clean=False,
        low_water=70113,
        handlers=["billing.issue_invoice"],
        deaths={"70113": 2},
    )
    headless = retry(partition, 0, attempts=5, available_at=HELD_UNTIL)
    letter = bury(partition, headless.key, position=headless.position, message_id=headless.message_id)
    RetryMessage.objects.filter(pk=headless.pk).update(dead_letter_id=letter.pk)
    retry(partition, 1, attempts=0, available_at=None)
    retry(partition, 2, attempts=0, available_at=None)
    soon = timezone.now() + timedelta(seconds=42)
    retry(partition, 3, attempts=2, available_at=soon, handler="crm.update_customer", key=b"customer-1815")
    bury(
        partition,
        uuid4(),
        reason=DeadLetterReason.UNDECODABLE,
        handler="",
        event_name="",
        message_id="",
        exception_type="django_eventbus.exceptions.Undecodable",
        payload=b"\x00\x00\x00\x2a\x10not json \xff",
        exception_message="invalid_json: JSON is malformed: invalid character (byte 0)",
        attempts=0,
        traceback="",
    )
    bury(
        partition,
        uuid4(),
        reason=DeadLetterReason.PROCESS_DIED,
        handler="reports.render",
        exception_type="",
        exception_message="2 workers ended while it ran",
        attempts=2,
        traceback="",
        tenant_id="acme",
    )


def fill_recurring() -> None:
    """Let a relay see what recurs: one is active, one is paused, one fails, and one is no longer declared."""
    for each in recurrings.all():
        RecurringRunner(buses["default"].config, [each]).run_due()
    now = timezone.now()
    rows = RecurringEvent.objects
    rows.filter(name="stock.check").update(last_at=now - timedelta(minutes=3))
    rows.filter(name="reports.end_day").update(
        next_at=now - timedelta(minutes=2),
        available_at=now + timedelta(minutes=3),
        last_at=now - timedelta(days=1, minutes=2),
        failures=4,
        last_error="OperationalError: the reporting database does not answer",
    )
    paused = rows.get(name="billing.remind_debtors")
    pause([paused.pk], actor="omar", reason="the mail server is being moved", using="default")
    rows.create(bus="default", name="crm.sync", schedule="every 1:00:00", next_at=now - timedelta(days=9))


def fill_schedule() -> None:
    """Let events wait: for minutes, hours and days."""
    waits = {
        "shop.orders.order-expired": (timedelta(minutes=12), timedelta(minutes=41), timedelta(hours=3)),
        "shop.billing.payment-reminded": (timedelta(days=3), timedelta(days=3, hours=4), timedelta(days=30)),
    }
    for name, delays in waits.items():
        for delay in delays:
            event_id = uuid7()
            headers = join_headers([("ce_specversion", "1.0"), ("ce_id", str(event_id)), ("ce_type", name)])
            message = NewMessage(
                event_id=event_id,
                bus=ControlFlag.objects.bus_number("default"),
                shard=17,
                topic=f"prod.shop.public.{name.split('.')[1]}.v1",
                key=str(uuid4()).encode(),
                headers=headers,
                payload=PAYLOAD,
                event_name=name,
            )
            ScheduledMessage.objects.append([message], due_at=timezone.now() + delay)


def retry(
    partition: PartitionEpoch,
    number: int,
    *,
    handler: str = "billing.issue_invoice",
    key: bytes = b"5b0c4f0e-6f0e-4c38-9d5d-0d5ce2a3f1c7",
    **fields: object,
) -> RetryMessage:
    message_id = str(uuid7())
    taken = InboxMessage.objects.create(
        key=inbox_key(handler, "/shop/orders", message_id),
        handler=handler,
        partition_id=partition.pk,
        position=81390 + number,
    )
    failure = {
        "error_type": "requests.exceptions.ConnectTimeout",
        "error_message": "the gateway did not answer within 5 s",
    }
    return RetryMessage.objects.create(
        key=taken.key,
        partition_id=partition.pk,
        lane=lane_of(GROUP, handler, TOPIC, key),
        position=taken.position,
        handler=handler,
        topic=TOPIC,
        message_id=message_id,
        event_name="shop.orders.order-placed",
        record_key=key,
        headers=pack_headers([("ce_id", message_id.encode()), ("ce_type", b"shop.orders.order-placed")]),
        payload=PAYLOAD,
        **(failure if fields["attempts"] else {}),
        **fields,
    )


def bury(partition: PartitionEpoch, key: UUID, **fields: object) -> DeadLetter:
    values: dict[str, object] = {
        "direction": Direction.IN,
        "reason": DeadLetterReason.ATTEMPTS_EXHAUSTED,
        "bus": "default",
        "group": GROUP,
        "handler": "billing.issue_invoice",
        "event_name": "shop.orders.order-placed",
        "event_version": "1",
        "source": "/shop/orders",
        "topic": TOPIC,
        "partition_id": partition.pk,
        "partition_number": partition.number,
        "position": 81390,
        "inbox_key": key,
        "key": b"5b0c4f0e-6f0e-4c38-9d5d-0d5ce2a3f1c7",
        "payload": PAYLOAD,
        "lane": lane_of(GROUP, "billing.issue_invoice", TOPIC, b"5b0c4f0e-6f0e-4c38-9d5d-0d5ce2a3f1c7"),
        "headers": pack_headers([("ce_specversion", b"1.0"), ("ce_type", b"shop.orders.order-placed")]),
        "exception_type": "requests.exceptions.ConnectTimeout",
        "attempts": 5,
        "exception_message": "the gateway did not answer within 5 s",
        "traceback": TRACEBACK,
    }
    return DeadLetter.objects.create(**{**values, **fields})


def fill_outbound() -> None:
    bus = ControlFlag.objects.bus_number("default")
    common = {
        "bus": bus,
        "shard": 17,
        "topic": REFUSED,
        "event_name": "shop.billing.invoice-issued",
        "payload": PAYLOAD,
    }
    headers = join_headers([("ce_specversion", "1.0"), ("ce_type", "shop.billing.invoice-issued")])
    lane = OutboxLane.objects.create(
        bus=bus,
        shard=17,
        topic=REFUSED,
        whole=False,
        key=b"INV-2026-00042",
        reason="TOPIC_AUTHORIZATION_FAILED",
        attempts=3,
        available_at=timezone.now() + timedelta(seconds=30),
    )
    OutboxLane.objects.create(
        bus=bus,
        shard=9,
        topic=REFUSED,
        whole=False,
        key=b"INV-2026-00007",
        reason="MSG_SIZE_TOO_LARGE",
        attempts=1,
        available_at=HELD_UNTIL,
    )
    for number in range(3):
        event_id = uuid7()
        ParkedMessage.objects.create(
            lane_id=lane.pk, id=100 + number, event_id=event_id, key=b"INV-2026-00042", headers=headers, **common
        )
        SentMessage.objects.create(id=50 + number, event_id=uuid7(), key=b"INV-2026-00001", headers=headers, **common)
        OutboxMessage.objects.create(event_id=uuid7(), key=b"INV-2026-00043", headers=headers, **common)
    DeadLetter.objects.create(
        direction=Direction.OUT,
        reason=DeadLetterReason.REFUSED_BY_BROKER,
        bus="default",
        topic=REFUSED,
        event_name="shop.billing.invoice-issued",
        event_version="1",
        message_id=str(uuid7()),
        source="/shop/billing",
        position=99,
        key=b"INV-2026-00007",
        headers=pack_headers([("ce_specversion", b"1.0")]),
        payload=PAYLOAD,
        exception_type="MSG_SIZE_TOO_LARGE",
        attempts=1,
    )
