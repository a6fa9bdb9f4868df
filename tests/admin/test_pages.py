"""Pages show what operators need, hide what they may not see, and never count or scan a table."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_eventbus.events.envelope import join_headers
from django_eventbus.models import DeadLetter, InboxMessage, OutboxLane, OutboxMessage, ParkedMessage
from django_eventbus.models.outbox import HELD_UNTIL, NewMessage

from .conftest import PAYLOAD

MODELS = (
    *("scheduledmessage", "outboxmessage", "outboxlane", "sentmessage", "inboxmessage", "retrymessage", "deadletter"),
    *("partitionepoch", "operatoraction", "controlflag", "recurringevent", "sagastate"),
)
Operator = Callable[..., Client]


@pytest.fixture
def superuser(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="secret"))
    return client


def fill_outbox(count: int) -> None:
    OutboxMessage.objects.append(
        [
            NewMessage(
                event_id=uuid4(),
                bus=1,
                shard=0,
                topic="t",
                key=b"k",
                headers=join_headers([("ce_id", "x"), ("content-type", "application/json")]),
                payload=PAYLOAD,
                event_name="shop.orders.order-placed",
            )
            for _ in range(count)
        ]
    )


@pytest.mark.parametrize("model", MODELS)
def test_even_a_superuser_can_neither_add_nor_change_nor_delete(superuser: Client, model: str) -> None:
    assert superuser.get(reverse(f"admin:eventbus_{model}_changelist")).status_code == 200
    assert superuser.get(reverse(f"admin:eventbus_{model}_add")).status_code == 403


@pytest.mark.parametrize("model", MODELS)
def test_a_list_asks_for_no_count(superuser: Client, model: str, make_dead_letter: Callable[..., DeadLetter]) -> None:
    make_dead_letter()
    fill_outbox(3)

    with CaptureQueriesContext(connection) as queries:
        superuser.get(reverse(f"admin:eventbus_{model}_changelist"))

    assert not [q["sql"] for q in queries if "COUNT(" in q["sql"].upper()]


@pytest.mark.postgres_only
@pytest.mark.parametrize("model", ["outboxmessage", "inboxmessage", "deadletter", "retrymessage", "sentmessage"])
def test_a_list_of_a_large_table_scans_nothing(superuser: Client, model: str) -> None:
    fill_large_tables()

    with CaptureQueriesContext(connection) as queries:
        superuser.get(reverse(f"admin:eventbus_{model}_changelist"))

    ours = [q["sql"] for q in queries if f'FROM "eventbus_{TABLES[model]}"' in q["sql"]]
    assert ours
    for sql in ours:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {sql}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
        assert "Seq Scan" not in plan, f"{sql}\n{plan}"
        assert "Sort" not in plan, f"{sql}\n{plan}"


TABLES = {
    "outboxmessage": "outbox",
    "inboxmessage": "inbox",
    "deadletter": "dead_letter",
    "retrymessage": "retry",
    "sentmessage": "sent",
}
ROWS = 20_000


def fill_large_tables() -> None:
    """Put ROWS rows into every large table by SQL alone, and let the planner know."""
    fill_outbox(1)
    headers, payload = "''::bytea", "'x'::bytea"
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO eventbus_outbox (event_id, bus, shard, topic, headers, payload, event_name)
              SELECT gen_random_uuid(), 1, 0, 't', '', {payload}, 'e' FROM generate_series(1, {ROWS});
            INSERT INTO eventbus_sent (id, event_id, bus, shard, topic, headers, payload, event_name)
              SELECT n, gen_random_uuid(), 1, 0, 't', '', {payload}, 'e' FROM generate_series(1, {ROWS}) n;
            INSERT INTO eventbus_inbox (key, handler, partition_id, position)
              SELECT gen_random_uuid(), 'h', 1, n FROM generate_series(1, {ROWS}) n;
            INSERT INTO eventbus_retry (key, partition_id, lane, position, handler, topic, headers, message_id,
                event_name, attempts, verdict, error_type, error_message)
              SELECT gen_random_uuid(), 1, gen_random_uuid(), n, 'h', 't', {headers}, '', '', 0, '', '', ''
              FROM generate_series(1, {ROWS}) n;
            INSERT INTO eventbus_dead_letter (direction, status, reason, bus, group_name, handler, event_name,
                event_version, message_id, source, correlation_id, tenant_id, topic, headers, exception_type,
                exception_message, traceback, attempts, times_dead, saga, saga_key)
              SELECT 'in', 'dead', 'rejected', 'default', '', '', '', '', '', '', '', '', 't',
                {headers}, '', '', '', 1, 1, '', ''
              FROM generate_series(1, {ROWS});
            ANALYZE eventbus_outbox; ANALYZE eventbus_sent; ANALYZE eventbus_inbox; ANALYZE eventbus_retry;
            ANALYZE eventbus_dead_letter;
            """
        )


def test_a_dead_letter_page_tells_the_whole_story(
    superuser: Client, make_dead_letter: Callable[..., DeadLetter]
) -> None:
    letter = make_dead_letter()

    page = superuser.get(reverse("admin:eventbus_deadletter_change", args=[letter.pk])).content.decode()

    for fact in (
        "billing.issue_invoice",
        "LookupError",
        "no tax rate",
        "Traceback",
        "\\xff",
        "null",
        letter.message_id,
    ):
        assert fact in page
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page


def test_the_exact_bytes_can_be_downloaded(superuser: Client, make_dead_letter: Callable[..., DeadLetter]) -> None:
    odd = b"\x00\xff not json"
    letter = make_dead_letter(payload=odd)

    response = superuser.get(reverse("admin:eventbus_deadletter_payload", args=[letter.pk]))

    assert response.content == odd
    assert response["Content-Disposition"].startswith("attachment")


def test_payloads_are_hidden_from_who_may_not_see_them(
    operator: Operator, make_dead_letter: Callable[..., DeadLetter]
) -> None:
    letter = make_dead_letter()
    client = operator("view_deadletter")

    page = client.get(reverse("admin:eventbus_deadletter_change", args=[letter.pk])).content.decode()
    download = client.get(reverse("admin:eventbus_deadletter_payload", args=[letter.pk]))

    assert "order_id" not in page
    assert download.status_code == 403


def test_a_tombstone_has_a_page_and_no_download(superuser: Client, make_dead_letter: Callable[..., DeadLetter]) -> None:
    letter = make_dead_letter(payload=None)

    page = superuser.get(reverse("admin:eventbus_deadletter_change", args=[letter.pk]))
    download = superuser.get(reverse("admin:eventbus_deadletter_payload", args=[letter.pk]))

    assert b"tombstone" in page.content
    assert download.status_code == 404


def test_lists_filter_by_handler_and_status(superuser: Client, make_dead_letter: Callable[..., DeadLetter]) -> None:
    make_dead_letter(handler="billing.issue_invoice")
    make_dead_letter(handler="shipping.pack_parcel")

    page = superuser.get(reverse("admin:eventbus_deadletter_changelist"), {"handler": "shipping.pack_parcel"})

    handlers = [letter.handler for letter in page.context["cl"].result_list]
    assert handlers == ["shipping.pack_parcel"]


def test_an_outbox_message_shows_headers_and_json(superuser: Client, db: None) -> None:
    fill_outbox(1)
    message = OutboxMessage.objects.get()

    page = superuser.get(reverse("admin:eventbus_outboxmessage_change", args=[message.pk])).content.decode()

    assert "content-type" in page
    assert "&quot;order_id&quot;: &quot;7&quot;" in page


def test_a_lane_shows_its_parked_messages_and_that_it_is_held(superuser: Client, db: None) -> None:
    lane = OutboxLane.objects.create(
        bus=1, shard=0, topic="t", whole=False, key=b"k", reason="MSG_SIZE_TOO_LARGE", available_at=HELD_UNTIL
    )
    ParkedMessage.objects.create(
        lane_id=lane.pk,
        id=5,
        event_id=uuid4(),
        event_name="parked.one",
        bus=1,
        shard=0,
        topic="t",
        headers="",
        payload=b"",
    )

    page = superuser.get(reverse("admin:eventbus_outboxlane_change", args=[lane.pk])).content.decode()

    assert "parked.one" in page
    assert "held for a verdict" in page


def test_the_inbox_page_links_to_the_dead_letter(
    superuser: Client, make_dead_letter: Callable[..., DeadLetter]
) -> None:
    letter = make_dead_letter()
    assert letter.inbox_key is not None
    InboxMessage.objects.create(key=letter.inbox_key, handler=letter.handler, partition_id=1, position=41)

    page = superuser.get(reverse("admin:eventbus_inboxmessage_change", args=[letter.inbox_key])).content.decode()

    assert f"dead letter {letter.pk}: dead" in page


@pytest.mark.parametrize("lookup", ["headers__contains", "payload__contains", "payload", "traceback__contains"])
def test_nobody_can_guess_by_filters_what_a_message_holds(
    operator: Operator, make_dead_letter: Callable[..., DeadLetter], lookup: str
) -> None:
    make_dead_letter()

    answer = operator("view_deadletter").get(reverse("admin:eventbus_deadletter_changelist"), {lookup: "x"})

    assert answer.status_code == 400
