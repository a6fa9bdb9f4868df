"""A test that stops and starts a server has one of its own: same address, same data."""

from __future__ import annotations

from typing import Any

import psycopg
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic


def test_postgresql_comes_back_with_its_data(own_postgres: Any) -> None:
    with psycopg.connect(own_postgres.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    own_postgres.stop()
    assert not own_postgres.answers()
    own_postgres.start()

    with psycopg.connect(own_postgres.url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_kafka_comes_back_with_its_topics(own_kafka: Any) -> None:
    admin = AdminClient({"bootstrap.servers": own_kafka.address})
    admin.create_topics([NewTopic("kept", num_partitions=3)])["kept"].result(30)

    own_kafka.stop()
    own_kafka.start()

    topics = AdminClient({"bootstrap.servers": own_kafka.address}).list_topics(timeout=20).topics
    assert len(topics["kept"].partitions) == 3
