"""Are many rows written as they were given, however many there are and whoever watches?"""

from __future__ import annotations

from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_eventbus.models import OutboxMessage
from django_eventbus.models.insertion import ROWS_AT_ONCE
from django_eventbus.models.outbox import NewMessage

pytestmark = pytest.mark.django_db(transaction=True)


def message(number: int, *, key: bytes | None = b"k") -> NewMessage:
    return NewMessage(
        event_id=UUID(int=number),
        bus=1,
        shard=number % 64,
        topic="orders",
        key=key,
        headers="quote ' percent % dollar $1",
        payload=b"\x00\xff'%s",
        event_name="shop.orders.order-placed",
    )


def test_more_rows_than_one_statement_takes_keep_their_order() -> None:
    messages = [message(number) for number in range(2 * ROWS_AT_ONCE + 1)]

    with transaction.atomic():
        OutboxMessage.objects.append(messages)

    written = list(OutboxMessage.objects.order_by("id").values_list("event_id", flat=True))
    assert written == [one.event_id for one in messages]


@pytest.mark.parametrize("keys", [[None], [None, b"a"], [b"a", None], [None, None]])
def test_bytes_and_missing_keys_are_written_as_they_are(keys: list[bytes | None]) -> None:
    messages = [message(number, key=key) for number, key in enumerate(keys)]

    with transaction.atomic():
        OutboxMessage.objects.append(messages)

    rows = OutboxMessage.objects.order_by("id")
    assert [row.key if row.key is None else bytes(row.key) for row in rows] == keys
    assert {(bytes(row.payload), row.headers) for row in rows} == {(messages[0].payload, messages[0].headers)}


def test_who_logs_queries_sees_the_insert() -> None:
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        OutboxMessage.objects.append([message(1), message(2)])

    assert sum("INSERT INTO eventbus_outbox" in query["sql"] for query in queries.captured_queries) == 1
    assert OutboxMessage.objects.count() == 2


def test_wrappers_around_queries_are_called() -> None:
    seen: list[str] = []

    def watch(execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        seen.append(sql)
        return execute(sql, params, many, context)

    with transaction.atomic(), connection.execute_wrapper(watch):
        OutboxMessage.objects.append([message(1)])

    assert len(seen) == 1
