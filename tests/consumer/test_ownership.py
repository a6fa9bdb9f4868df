"""When is a frozen predecessor put out of a partition?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from django_eventbus.conf import load
from django_eventbus.consumer.ownership import Ownership
from django_eventbus.delivery.groups import form_groups
from django_eventbus.delivery.handler import Handler
from django_eventbus.models import PartitionEpoch
from django_eventbus.transports.base import TopicPartition

PLACE = TopicPartition("orders", 0)
HOLD = """
SELECT pg_advisory_xact_lock_shared(('eventbus_partition'::regclass::oid::bigint << 32) | %s)
"""


def ownership(*, grace: float, timeout: float, clock: list[float]) -> Ownership:
    config = load({"default": {"GROUP": "shop", "CONSUMER": {"GRACE": grace}}})["default"]
    limit = timedelta(seconds=timeout)
    handler = Handler(name="shop.bill", function=print, events=(), app_label=None, timeout=limit)
    return Ownership(form_groups([handler], config)["shop"], config, owner="test", clock=lambda: clock[0])


@pytest.mark.postgres_only
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("grace", "timeout"), [(5, 60), (60, 5)])
def test_a_predecessor_may_finish_for_the_longer_of_grace_and_handler_timeout(grace: float, timeout: float) -> None:
    row = PartitionEpoch.objects.create(group="shop", topic=PLACE.topic, number=PLACE.number)
    driver: Any = connection.Database  # type: ignore[attr-defined]
    frozen = driver.connect(**connection.get_connection_params())
    frozen.execute(HOLD, [row.pk])
    clock = [0.0]
    successor = ownership(grace=grace, timeout=timeout, clock=clock)
    successor.want(PLACE)

    for now in (0.0, 59.0):
        clock[0] = now
        assert successor.take_due() == []
    assert frozen.execute("SELECT 1").fetchone() == (1,)

    clock[0] = 61.0
    assert successor.take_due() == []
    assert [claim.place for claim in successor.take_due()] == [PLACE]
    with pytest.raises(driver.OperationalError):
        frozen.execute("SELECT 1")


@pytest.mark.django_db(transaction=True)
def test_a_partition_whose_owner_had_handlers_that_are_not_known_here_is_not_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    PartitionEpoch.objects.create(group="shop", topic=PLACE.topic, number=PLACE.number, handlers=["mail.thank"])
    stranger = ownership(grace=5, timeout=5, clock=[0.0])
    stranger.want(PLACE)

    assert stranger.take_due() == []

    assert stranger.wanted() == {PLACE}
    assert PartitionEpoch.objects.get().epoch == 0
    assert "mail.thank" in caplog.text
