"""What else does the judge need to know, beside what a run wrote into its tables? All of it goes there, as a stream."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import psycopg

from tests.history.path import notes
from tests.history.path.fates import dies
from tests.history.path.tables import ECHOES, HANDLERS, STEPS, Handler

AT_ONCE = 5000  # records
TABLES = """
CREATE TABLE path_handler (number smallint, name text, topic smallint, is_ordered boolean);
CREATE TABLE path_run (handler smallint, event_id uuid, attempt int);
CREATE TABLE path_record (topic smallint, partition int, position bigint, event_id uuid, key int, number int);
CREATE TABLE path_doomed (handler smallint, key int, number int)
"""
# The echo of a step is published by its handler, in the transaction of the effect; only the broker knows its id.
COMMITTED = """
CREATE TABLE path_committed AS
SELECT {steps}::smallint AS topic, event_id, key, number FROM path_published UNION ALL
SELECT {echoes}::smallint, r.event_id, e.key, e.number FROM path_effect AS e
    LEFT JOIN (SELECT min(event_id::text)::uuid AS event_id, key, number FROM path_record
        WHERE topic = {echoes} GROUP BY key, number) AS r USING (key, number)
WHERE e.handler = 1 AND e.number % {every} = 0;
CREATE TABLE path_buried AS
SELECT h.number AS handler, d.message_id::uuid AS event_id, d.handler AS name, d.reason
FROM eventbus_dead_letter AS d LEFT JOIN path_handler AS h ON h.name = d.handler;
CREATE INDEX ON path_doomed (handler, key, number);
ANALYZE
"""


def gather(
    session: psycopg.Connection[Any],
    *,
    folder: Path,
    records: Iterable[tuple[Any, ...]],
    handlers: Mapping[str, Handler] = HANDLERS,
    is_calm: bool = False,
) -> None:
    """Fill the tables of the judge; `records` are those of both topics, as `read_topics` yields them.

    In a calm run no handler fails; without `handlers` only the relays are judged.
    """
    from tests.history.path.events import ECHO_EVERY

    session.execute(TABLES)
    _copy(session, "path_handler", ((h.number, name, h.topic, h.is_ordered) for name, h in handlers.items()))
    with session.cursor() as cursor, cursor.copy("COPY path_run FROM STDIN") as copy:
        for line in notes.read(folder, "handled"):
            copy.write(f"{line}\n")
    _copy(session, "path_record", records)
    if not is_calm:
        last = dict(session.execute("SELECT key, value FROM path_counter").fetchall())
        _copy(session, "path_doomed", _doomed(last))
    session.execute(COMMITTED.format(steps=STEPS, echoes=ECHOES, every=ECHO_EVERY))


def read_topics(broker: str, topics: dict[int, str]) -> Iterator[tuple[int, int, int, uuid.UUID, int, int]]:
    """Yield topic, partition, offset, event id, key and number of every record of some topics."""
    from confluent_kafka.cimpl import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": broker, "group.id": uuid.uuid4().hex, "enable.auto.commit": False})
    numbers = {name: number for number, name in topics.items()}
    places = [
        TopicPartition(name, partition, OFFSET_BEGINNING)
        for name in numbers
        for partition in consumer.list_topics(name, timeout=30).topics[name].partitions
    ]
    left = sum(consumer.get_watermark_offsets(place, timeout=30)[1] for place in places)
    consumer.assign(places)
    while left:
        for message in consumer.consume(min(AT_ONCE, left), timeout=10):
            assert message.error() is None, message.error()
            name, partition, position = message.topic(), message.partition(), message.offset()
            headers, value = cast("list[tuple[str, bytes]]", message.headers()), message.value()
            assert name is not None, "a record has a topic"
            assert value is not None, "a record has a body"
            event_id = next(text for header, text in headers if header == "ce_id")
            body = json.loads(value)
            yield (
                numbers[name],
                partition or 0,
                position or 0,
                uuid.UUID(event_id.decode()),
                int(body["key"]),
                body["number"],
            )
            left -= 1
    consumer.close()


def _doomed(last: dict[int, int]) -> Iterator[tuple[int, int, int]]:
    for name, handler in HANDLERS.items():
        for key, value in last.items():
            text = str(key)
            yield from ((handler.number, key, number) for number in range(1, value + 1) if dies(name, text, number))


def _copy(session: psycopg.Connection[Any], table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with session.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
