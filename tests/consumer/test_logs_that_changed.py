"""A topic that is made again, or a log that was restored: its offsets begin anew, and none of it may be skipped."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from django_eventbus.delivery.registry import groups_of
from django_eventbus.models import PartitionEpoch
from django_eventbus.transports.base import TopicPartition
from django_eventbus.transports.memory.broker import Group
from tests.consumer.scene import TOPIC, noted
from tests.consumer.test_crashes import database, finish, history
from tests.consumer.test_worker import Stage, stage
from tests.history.consumer_history import History

__all__ = ["database", "history", "stage"]


@pytest.fixture
def consumed(history: History) -> History:
    """A topic of which a member has handled a hundred messages."""
    history.produce(keys=4, each=25, partitions=1)
    history.start()
    finish(history, 200)
    return history


def make_again(history: History) -> None:
    admin = AdminClient({"bootstrap.servers": history.broker})
    admin.delete_topics([history.topic])[history.topic].result(30)
    history.execute("TRUNCATE history_effect")
    deadline = time.monotonic() + 20
    while True:
        try:
            return history.create_topic(1)
        except KafkaException:  # it is still being deleted
            assert time.monotonic() < deadline
            time.sleep(0.1)


def leave(history: History) -> None:
    (member,) = history.members
    member.terminate()
    assert member.wait(20) == 0
    history.members.clear()


@pytest.mark.services
def test_a_topic_that_was_made_again_and_has_grown_beyond_the_mark_is_read_from_its_beginning(
    consumed: History,
) -> None:
    leave(consumed)
    make_again(consumed)
    consumed.produce(keys=4, each=50)

    consumed.start()

    assert finish(consumed, 400).is_sound


@pytest.mark.services
def test_a_topic_that_is_made_again_under_a_running_member_is_read_from_its_beginning(consumed: History) -> None:
    make_again(consumed)
    consumed.produce(keys=4, each=5)

    assert finish(consumed, 40, within=60).is_sound


@pytest.mark.postgres_only
def test_a_log_that_is_shorter_than_what_was_committed_is_read_from_its_beginning(stage: Stage) -> None:
    stage.handles("first")
    (group,) = groups_of(stage.config)
    place = TopicPartition(TOPIC, 0)
    stage.transport.broker.groups[group] = Group(committed={place: 1000})
    PartitionEpoch.objects.create(group=group, topic=TOPIC, number=0, low_water=1000)
    for n in range(20):
        stage.send(n, f"k{n}")

    stage.run()

    assert sorted(noted("first")) == list(range(20))


@pytest.mark.postgres_only
def test_a_database_that_has_fallen_behind_the_broker_is_brought_up_again_from_where_it_is(stage: Stage) -> None:
    """A backup was restored, or an asynchronous standby has become the primary: the last units of work are gone."""
    stage.handles("first")
    (group,) = groups_of(stage.config)
    for n in range(20):
        stage.send(n, "one key")
    number = stage.transport.broker.records(TOPIC)[0].partition
    stage.transport.broker.groups[group] = Group(committed={TopicPartition(TOPIC, number): 15})
    PartitionEpoch.objects.create(group=group, topic=TOPIC, number=number, low_water=10)

    stage.run()

    assert noted("first") == list(range(10, 20))
