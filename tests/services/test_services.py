from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer
from django.db import connection


@pytest.mark.django_db
def test_the_default_database_answers() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        answer = cursor.fetchone()

    assert answer == (1,)


@pytest.mark.postgres_only
@pytest.mark.django_db
def test_postgresql_commits_as_durably_as_its_default_says() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('synchronous_commit'), current_setting('max_prepared_transactions')")
        settings = cursor.fetchone()

    assert settings == ("on", "10")


@pytest.mark.sqlite_only
@pytest.mark.django_db(transaction=True)
def test_sqlite_writes_ahead() -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        mode = cursor.fetchone()

    assert mode == ("wal",)


def test_kafka_carries_a_record(kafka: str, make_topic: Callable[..., str]) -> None:
    topic = make_topic(partitions=2)
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])

    producer = Producer({"bootstrap.servers": kafka})
    producer.produce(topic, b"value", key=b"key", headers=[("name", b"text")])
    producer.flush(10)

    message = consumer.poll(20)
    consumer.close()
    assert message is not None
    assert message.error() is None
    assert (message.key(), message.value(), message.headers()) == (b"key", b"value", [("name", b"text")])
