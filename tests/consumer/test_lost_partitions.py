"""A worker that the group has given up, but that lives, is no worker that died."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from django_eventbus.models import PartitionEpoch
from django_eventbus.signals import partitions_revoked
from django_eventbus.transports.memory.consumer import MemoryConsumer
from tests.consumer.scene import Counted, noted
from tests.consumer.test_worker import Stage, eventually, stage

__all__ = ["stage"]

pytestmark = pytest.mark.postgres_only


@pytest.fixture
def lost() -> Iterator[threading.Event]:
    """Set once a worker has heard that partitions are lost."""
    heard = threading.Event()

    def hear(*, lost: bool, **_: Any) -> None:
        if lost:
            heard.set()

    partitions_revoked.connect(hear)
    yield heard
    partitions_revoked.disconnect(hear)


def expel(stage: Stage) -> None:
    """Throw all members out, as a broker does that has not heard of them for a session."""
    (group,) = stage.transport.broker.groups.values()
    for member in list(group.members):
        assert isinstance(member, MemoryConsumer)
        member.expire()


def epochs() -> list[int]:
    return list(PartitionEpoch.objects.order_by("number").values_list("epoch", flat=True))


def test_who_lost_its_partitions_while_nothing_ran_does_not_go_carefully_when_it_has_them_again(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.handles("first")
    stage.start()
    eventually(lambda: epochs() == [1] * 4)

    expel(stage)
    eventually(lambda: epochs() == [2] * 4)
    stage.send(1)
    eventually(lambda: noted("first") == [1])

    assert "carefully" not in caplog.text


def test_who_lost_its_partitions_while_a_handler_ran_goes_carefully(
    stage: Stage, caplog: pytest.LogCaptureFixture, lost: threading.Event
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait(event: Counted) -> None:
        begun.set()
        assert go_on.wait(20)

    stage.handles("first", wait)
    stage.send(1)
    stage.start()
    assert begun.wait(20)

    expel(stage)
    assert lost.wait(20)
    go_on.set()
    eventually(lambda: "carefully" in caplog.text)

    eventually(lambda: noted("first") == [1])
    assert "partition left unclean" not in caplog.text
