"""Does every bus have a local queue whose rows are told apart, and that nobody has to name?"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import transaction

from django_eventbus import domain_event, handler, publish
from django_eventbus.bus import buses
from django_eventbus.conf import LOCAL_TRANSPORT, load
from django_eventbus.consumer.local import place_of
from django_eventbus.delivery.registry import handlers
from django_eventbus.events.registry import events
from django_eventbus.exceptions import ConfigurationError
from django_eventbus.models import ControlFlag, PartitionEpoch, RetryMessage
from django_eventbus.models.control import bus_number
from django_eventbus.outbox.ways import way_of
from django_eventbus.signals import RelayState, relay_state_changed
from tests.shop.models import Effect

KAFKA = {"TRANSPORT": "kafka", "GROUP": "shop-dev", "OPTIONS": {"bootstrap.servers": "kafka:9092"}}


def test_a_bus_without_a_broker_is_its_own_local_queue() -> None:
    config = load(None)["default"]

    assert config.local is config
    assert config.queues == (config,)
    assert not config.is_companion


def test_a_bus_with_a_broker_has_a_companion_that_differs_in_alias_and_transport() -> None:
    config = load({"default": {**KAFKA, "OUTBOX": {"RELAYS": 8, "WAKE_WITH": "celery"}, "RETRY": {"MAX_ATTEMPTS": 2}}})[
        "default"
    ]

    local = config.local

    assert (local.alias, local.transport) == ("default:local", LOCAL_TRANSPORT)
    assert (local.group, local.source, local.retry) == (config.group, config.source, config.retry)
    assert (local.outbox.relays, local.outbox.wake_with) == (1, None)
    assert config.queues == (config, local)
    assert local.local is local


def test_commits_reach_the_companion_in_another_process() -> None:
    config = load({"default": KAFKA})["default"]
    polling = load({"default": {**KAFKA, "OUTBOX": {"WAKE_WITH": "poll"}}})["default"]

    assert way_of(config.local, "default") == way_of(config, "default") != "thread"
    assert way_of(polling.local, "default") == "poll"


def test_no_alias_can_be_taken_for_a_companion() -> None:
    with pytest.raises(ConfigurationError, match="'default:local', but must be another alias"):
        load({"default": {}, "default:local": {}})


def test_companions_are_no_buses_that_users_name(settings: Any) -> None:
    settings.EVENTBUS = {"default": KAFKA, "second": {}}

    assert list(buses) == ["default", "second"]
    assert buses["default"].local.config.alias == "default:local"
    assert buses["default"].local is buses["default"].local
    assert buses["second"].local is buses["second"]


@pytest.mark.django_db
def test_companions_get_a_number_of_their_own_from_migrate(settings: Any) -> None:
    settings.EVENTBUS = {"default": KAFKA, "second": {}}
    ControlFlag.objects.all().delete()

    call_command("migrate", "eventbus", verbosity=0)

    assert set(ControlFlag.objects.values_list("bus", flat=True)) == {"default", "default:local", "second"}
    assert bus_number("default", "default") != bus_number("default:local", "default")


def test_buses_that_share_a_group_do_not_share_its_local_partition() -> None:
    configs = load({"default": KAFKA, "second": KAFKA, "third": {}})

    assert [place_of(config.local).topic for config in configs.values()] == [
        "default:local",
        "second:local",
        "third:local",
    ]


@pytest.mark.django_db
def test_a_worker_of_the_broker_leaves_the_local_partition_alone() -> None:
    local = PartitionEpoch.objects.create(group="shop-dev", topic="default:local", number=0)
    left = PartitionEpoch.objects.create(group="shop-dev", topic="orders", number=0)
    for partition in (local, left):
        _let_a_delivery_wait(partition)

    abandoned = PartitionEpoch.objects.abandoned("shop-dev", topics=["payments"])

    assert [row.topic for row in abandoned] == ["orders"]


@pytest.mark.postgres_only
@pytest.mark.django_db(transaction=True)
def test_a_handler_may_take_as_long_as_its_timeout_says(settings: Any) -> None:
    settings.EVENTBUS = {"default": {"OUTBOX": {"GRACE": 1, "SEND_DEADLINE": 0.5}}}
    states: list[RelayState] = []

    def hear(*, state: RelayState, **_: Any) -> None:
        states.append(state)

    with events.isolated(), handlers.isolated():

        @domain_event("tests.queue.long-walk", dispatch="queued")
        class LongWalk:
            pass

        @handler(LongWalk, name="tests.walk", timeout=5)
        def walk(event: LongWalk) -> None:
            time.sleep(2)  # the work itself: longer than GRACE, shorter than the timeout
            Effect.objects.create(handler="walk")

        with transaction.atomic():
            publish(LongWalk())
        relay_state_changed.connect(hear)
        try:
            report = buses["default"].open_relay().run(threading.Event(), until_empty=True, timeout=30)
        finally:
            relay_state_changed.disconnect(hear)

    assert (report.sent, report.is_empty) == (1, True)
    assert states == [RelayState.ACTIVE, RelayState.STOPPED]
    assert Effect.objects.count() == 1


def _let_a_delivery_wait(partition: PartitionEpoch) -> None:
    RetryMessage.objects.create(
        key=uuid4(),
        partition_id=partition.id,
        lane=uuid4(),
        position=1,
        handler="billing.issue_invoice",
        topic=partition.topic,
        headers=b"",
        available_at=datetime.now(UTC) - timedelta(seconds=1),
    )
