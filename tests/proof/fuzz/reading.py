"""What has become of each record: the log and the tables, read side by side in the order of the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
from confluent_kafka.cimpl import Consumer, KafkaError, TopicPartition

UNREADABLE = (("\ufffd", None),)  # what the client makes of headers whose names are not UTF-8
EFFECTS = "SELECT position, handler, source, message_id, digest FROM fuzz_effect WHERE no = %s ORDER BY position"
INBOX = """
SELECT position, handler FROM eventbus_inbox
WHERE partition_id = (SELECT id FROM eventbus_partition WHERE number = %s AND topic NOT LIKE '%%:local')
ORDER BY position
"""
DEAD = """
SELECT position, handler, reason, key, headers, payload, message_id, exception_message FROM eventbus_dead_letter
WHERE partition_number = %s ORDER BY position
"""
INDEXES = """
CREATE INDEX ON eventbus_inbox (partition_id, position);
CREATE INDEX ON eventbus_dead_letter (partition_number, position);
CREATE INDEX ON fuzz_effect (no, position);
ANALYZE
"""


class Logged(NamedTuple):
    """A record as the log holds it."""

    no: int
    position: int
    key: bytes | None
    headers: list[tuple[str, bytes | None]]
    value: bytes | None


class Effect(NamedTuple):
    """What a handler wrote down."""

    position: int
    handler: str
    source: str
    message_id: str
    digest: UUID


class Dead(NamedTuple):
    """What was kept of a record, or of one delivery of it."""

    position: int
    handler: str
    reason: str
    key: bytes | None
    headers: bytes
    payload: bytes | None
    message_id: str
    error: str

    def is_exactly(self, record: Logged) -> bool:
        """Say whether it has the bytes of the record."""
        kept = [(name, value) for name, value in msgspec.msgpack.decode(self.headers)]
        return (self.key, self.payload, kept) == (record.key, record.value, record.headers)


@dataclass(kw_only=True)
class Found:
    """Everything that the tables hold of one record."""

    record: Logged
    effects: list[Effect] = field(default_factory=list)
    inbox: Counter[str] = field(default_factory=Counter)  # handlers
    dead: list[Dead] = field(default_factory=list)


class Stream:
    """Rows of one partition in the order of the log, read a few thousand at a time."""

    def __init__(self, cursor: Any, statement: str, no: int, kind: Any) -> None:
        cursor.itersize = 2000
        cursor.execute(statement, [no])
        self._rows = (kind(*row) for row in cursor)
        self._next = next(self._rows, None)

    def of(self, position: int) -> Iterator[Any]:
        """Yield the rows of this record; earlier ones, of which there may be none, are given with it."""
        while self._next is not None and self._next.position <= position:
            yield self._next
            self._next = next(self._rows, None)

    def rest(self) -> int:
        """Count what belongs to no record of the log."""
        return sum(1 for _ in self.of(2**62))


class Waiting(NamedTuple):
    """A row of the inbox."""

    position: int
    handler: str


def look(url: str, broker: str, topic: str, *, partitions: int, strays: Counter[str]) -> Iterator[Found]:
    """Yield every record of the topic with what became of it; memory does not grow with their number."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in filter(str.strip, INDEXES.split(";")):
            connection.execute(statement)
    for no in range(partitions):
        with psycopg.connect(url) as connection, ExitStack() as stack:
            streams = {
                name: Stream(stack.enter_context(connection.cursor(name)), statement, no, kind)
                for name, statement, kind in (("e", EFFECTS, Effect), ("i", INBOX, Waiting), ("d", DEAD, Dead))
            }
            for record in records(broker, topic, no):
                found = Found(record=record)
                found.effects += streams["e"].of(record.position)
                found.inbox.update(row.handler for row in streams["i"].of(record.position))
                found.dead += streams["d"].of(record.position)
                yield found
            strays.update({name: stream.rest() for name, stream in streams.items()})


def records(broker: str, topic: str, no: int) -> Iterator[Logged]:
    """Read one partition from its first to its last record."""
    config = {"bootstrap.servers": broker, "group.id": "judge", "enable.auto.commit": False, "log_level": 2}
    consumer = Consumer({**config, "enable.partition.eof": True, "queued.max.messages.kbytes": 16384})
    try:
        consumer.assign([TopicPartition(topic, no, 0)])
        while True:
            for message in consumer.consume(500, 1.0):
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        return
                    raise RuntimeError(f"the judge cannot read the log: {error}")
                offset = message.offset()
                assert offset is not None
                yield Logged(no, offset, message.key(), _headers(message), message.value())
    finally:
        consumer.close()


def _headers(message: Any) -> list[tuple[str, bytes | None]]:
    try:
        return list(message.headers() or ())
    except (SystemError, UnicodeDecodeError):
        return list(UNREADABLE)
