"""Pages say what happened, what to do next, and lead to what belongs together."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_eventbus.admin import acting
from django_eventbus.admin.advice import STEPS
from django_eventbus.events.identifiers import uuid7
from django_eventbus.models import DeadLetter, InboxMessage, OperatorAction, RetryMessage
from django_eventbus.models.dead_letter import DeadLetterReason, DeadLetterStatus
from django_eventbus.models.inbox import inbox_key

MakeDeadLetter = Callable[..., DeadLetter]
CHANGELIST = "admin:eventbus_deadletter_changelist"


@pytest.fixture
def root(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="secret"))
    return client


def page_of(client: Client, letter: DeadLetter) -> str:
    return client.get(reverse("admin:eventbus_deadletter_change", args=[letter.pk])).content.decode()


@pytest.mark.parametrize("reason", DeadLetterReason)
def test_every_reason_has_a_next_step(root: Client, make_dead_letter: MakeDeadLetter, reason: DeadLetterReason) -> None:
    letter = make_dead_letter(reason=reason)

    page = page_of(root, letter)

    assert STEPS[reason].split(".")[0] in unescape(page)


@pytest.mark.parametrize("status", DeadLetterStatus)
def test_verdicts_are_offered_on_what_is_dead_only(
    root: Client, make_dead_letter: MakeDeadLetter, status: DeadLetterStatus
) -> None:
    letter = make_dead_letter(status=status)

    page = page_of(root, letter)

    assert ('value="Replay"' in page) is (status == DeadLetterStatus.DEAD)
    assert "Next step" in page


def test_what_waits_behind_a_dead_letter_is_listed_and_linked(root: Client, make_dead_letter: MakeDeadLetter) -> None:
    letter = make_dead_letter()
    assert letter.lane is not None
    behind = RetryMessage.objects.create(
        key=uuid4(), partition_id=1, lane=letter.lane, position=42, handler="<b>", topic="t", headers=b"\x90"
    )

    page = page_of(root, letter)

    assert f'/admin/eventbus/retrymessage/{behind.pk}/change/?database=default">42</a>' in page
    assert "<td>&lt;b&gt;</td>" in page


def test_what_a_task_has_to_handle_is_told_from_what_failed(root: Client) -> None:
    for sends, starts in ((0, 0), (1, 0), (2, 1)):
        RetryMessage.objects.create(
            key=uuid4(),
            partition_id=1,
            lane=uuid4(),
            position=1,
            handler="h",
            topic="t",
            headers=b"\x90",
            available_at=timezone.now(),
            sends=sends,
            starts=starts,
        )

    page = root.get(reverse("admin:eventbus_retrymessage_changelist")).content.decode()

    assert [page.count(f">{state}</span>") for state in ("waiting", "sent elsewhere", "begun elsewhere")] == [1, 1, 1]


def test_the_inbox_finds_all_deliveries_of_a_message_by_its_id(root: Client) -> None:
    message_id = str(uuid7())
    for handler in ("billing.issue_invoice", "shipping.pack_parcel"):
        InboxMessage.objects.create(
            key=inbox_key(handler, "/a", message_id), handler=handler, partition_id=1, position=1
        )
    InboxMessage.objects.create(key=inbox_key("x.y", "/a", str(uuid4())), handler="x.y", partition_id=1, position=2)

    found = root.get(reverse("admin:eventbus_inboxmessage_changelist"), {"q": message_id})
    missed = root.get(reverse("admin:eventbus_inboxmessage_changelist"), {"q": "no id"})

    handlers = sorted(row.handler for row in found.context["cl"].result_list)
    assert handlers == ["billing.issue_invoice", "shipping.pack_parcel"]
    assert missed.context["cl"].result_list == []


def test_a_filter_by_a_value_that_no_recent_row_has_shows_nothing(
    root: Client, make_dead_letter: MakeDeadLetter
) -> None:
    make_dead_letter()

    page = root.get(reverse(CHANGELIST), {"handler": "long.gone"})

    assert page.context["cl"].result_list == []


def test_a_list_reads_no_payloads(root: Client, make_dead_letter: MakeDeadLetter) -> None:
    make_dead_letter()

    (row,) = root.get(reverse(CHANGELIST)).context["cl"].result_list

    assert {"headers", "payload", "traceback"} <= row.get_deferred_fields()


def test_a_bulk_action_refuses_more_than_it_can_confirm(
    root: Client, make_dead_letter: MakeDeadLetter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acting, "MOST", 2)
    letters = [make_dead_letter(position=n) for n in range(3)]
    form = {"action": "replay_selected", "_selected_action": [letter.pk for letter in letters], "confirmed": "yes"}

    page = root.post(reverse(CHANGELIST), {**form, "command_id": str(uuid4())}, follow=True)

    assert b"replay_dead_letters" in page.content
    assert not OperatorAction.objects.exists()


def test_the_index_of_the_app_leads_with_what_needs_an_operator(root: Client) -> None:
    page = root.get("/admin/eventbus/").content.decode()

    places = [page.index(f"/admin/eventbus/{name}/") for name in ("deadletter", "outboxmessage", "partitionepoch")]
    assert places == sorted(places)


def test_the_index_of_the_app_hides_what_an_operator_may_not_see(operator: Callable[..., Client]) -> None:
    page = operator("view_deadletter").get("/admin/eventbus/").content.decode()

    assert "/admin/eventbus/deadletter/" in page
    assert "/admin/eventbus/outboxmessage/" not in page
