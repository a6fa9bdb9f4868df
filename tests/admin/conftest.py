"""Operators with exactly one permission each, and the rows that they look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from django_eventbus.models import DeadLetter, PartitionEpoch
from django_eventbus.models.dead_letter import DeadLetterReason, Direction, pack_headers
from django_eventbus.models.inbox import inbox_key
from django_eventbus.models.retry import lane_of

PAYLOAD = b'{"order_id": "7", "note": "<script>alert(1)</script>"}'


@pytest.fixture
def operator(db: None) -> Callable[..., Client]:
    """Log in a staff user who has the permissions named, and no other."""

    def log_in(*codenames: str, csrf: bool = False) -> Client:
        user = User.objects.create_user(f"operator-{uuid4().hex[:8]}", password="secret", is_staff=True)
        permissions = Permission.objects.filter(content_type__app_label="eventbus", codename__in=codenames)
        assert permissions.count() == len(codenames), codenames
        user.user_permissions.set(permissions)
        client = Client(enforce_csrf_checks=csrf)
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def make_dead_letter(db: None) -> Callable[..., DeadLetter]:
    """Store an inbound dead letter of the handler `billing.issue_invoice`."""

    def make(using: str = "default", **fields: Any) -> DeadLetter:
        message_id = str(uuid4())
        partition, _ = PartitionEpoch.objects.using(using).get_or_create(group="shop-dev", topic="t", number=0)
        values: dict[str, Any] = {
            "direction": Direction.IN,
            "reason": DeadLetterReason.ATTEMPTS_EXHAUSTED,
            "bus": "default",
            "group": "shop-dev",
            "handler": "billing.issue_invoice",
            "event_name": "shop.orders.order-placed",
            "message_id": message_id,
            "source": "/shop/shop",
            "topic": "t",
            "partition_id": partition.pk,
            "partition_number": 0,
            "position": 41,
            "lane": lane_of("shop-dev", "billing.issue_invoice", "t", b"7"),
            "inbox_key": inbox_key("billing.issue_invoice", "/shop/shop", message_id),
            "key": b"7",
            "headers": pack_headers([("ce_id", message_id.encode()), ("odd", b"\xff"), ("none", None)]),
            "payload": PAYLOAD,
            "exception_type": "LookupError",
            "exception_message": "no tax rate",
            "traceback": "Traceback ...",
            "attempts": 3,
        }
        return DeadLetter.objects.using(using).create(**{**values, **fields})

    return make
