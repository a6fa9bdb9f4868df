"""Messages that the broker refuses for ever move from the outbox to the dead letters."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from django.db import connection

from django_eventbus.events.envelope import join_headers
from django_eventbus.models import DeadLetter, OutboxMessage
from django_eventbus.models.dead_letter import DeadLetterStatus, move_outbound, unpack_headers
from django_eventbus.models.outbox import NewMessage

pytestmark = pytest.mark.django_db


def put(event_id: UUID, *, payload: bytes = b"{}") -> int:
    headers = [("ce_id", str(event_id)), ("ce_source", "/shop"), ("ce_correlationid", "c1"), ("x-user", "grüße")]
    message = NewMessage(
        event_id=event_id,
        bus=1,
        shard=3,
        topic="dev.shop.public.orders.v1",
        key=b"42",
        headers=join_headers(headers),
        payload=payload,
        event_name="shop.orders.order-placed",
    )
    OutboxMessage.objects.append([message])
    return OutboxMessage.objects.order_by("-id").values_list("id", flat=True)[0]


def move(*ids: int, code: str = "MSG_SIZE_TOO_LARGE") -> dict[int, int]:
    with connection.cursor() as cursor:
        return move_outbound(cursor, table="eventbus_outbox", bus="default", codes=dict.fromkeys(ids, code))


def test_a_refused_message_becomes_a_dead_letter_with_its_exact_bytes() -> None:
    event_id = uuid4()
    refused, other = put(event_id, payload=b'{"n": 1}\x00\xff'), put(uuid4())

    moved = move(refused)

    letter = DeadLetter.objects.get(pk=moved[refused])
    assert OutboxMessage.objects.values_list("id", flat=True).get() == other
    assert (letter.direction, letter.status, letter.reason) == ("out", "dead", "refused_by_broker")
    assert (letter.message_id, letter.source, letter.correlation_id) == (str(event_id), "/shop", "c1")
    assert letter.exception_type == "MSG_SIZE_TOO_LARGE"
    assert bytes(letter.payload or b"") == b'{"n": 1}\x00\xff'
    assert unpack_headers(bytes(letter.headers))[-1] == ("x-user", "grüße".encode())
    assert letter.published_at is not None


def test_a_replayed_message_that_is_refused_again_updates_its_line() -> None:
    event_id = uuid4()
    first = move(row := put(event_id))[row]
    DeadLetter.objects.update(status=DeadLetterStatus.REPLAYED)

    again = move(row := put(event_id), code="INVALID_RECORD")[row]

    letter = DeadLetter.objects.get()
    assert again == first == letter.pk
    assert (letter.status, letter.times_dead, letter.exception_type) == ("dead", 2, "INVALID_RECORD")


def test_two_messages_under_one_id_are_two_dead_letters() -> None:
    event_id = uuid4()
    move(put(event_id, payload=b"1"))

    move(put(event_id, payload=b"2"))

    assert {bytes(letter.payload or b"") for letter in DeadLetter.objects.all()} == {b"1", b"2"}


def test_nothing_to_move_touches_nothing() -> None:
    assert move() == {}
