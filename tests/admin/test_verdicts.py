"""Only who has the permission replays or discards, by POST, and every act is recorded."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from django_eventbus.models import DeadLetter, OperatorAction, RetryMessage
from django_eventbus.models.dead_letter import DeadLetterStatus

Operator = Callable[..., Client]
MakeDeadLetter = Callable[..., DeadLetter]
CHANGELIST = "admin:eventbus_deadletter_changelist"


def verdict_url(letter: DeadLetter) -> str:
    return reverse("admin:eventbus_deadletter_verdict", args=[letter.pk])


def form(verdict: str = "replay", reason: str = "rate added") -> dict[str, str]:
    return {"verdict": verdict, "reason": reason, "command_id": str(uuid4())}


def test_replay_takes_the_old_place_of_the_failed_handler_alone(
    operator: Operator, make_dead_letter: MakeDeadLetter
) -> None:
    letter = make_dead_letter()
    client = operator("view_deadletter", "replay_deadletter")

    response = client.post(verdict_url(letter), form())

    assert response.status_code == 302
    waiting = RetryMessage.objects.get()
    assert (waiting.key, waiting.handler, waiting.position) == (letter.inbox_key, letter.handler, 41)
    assert (waiting.message_id, bytes(waiting.payload or b"")) == (letter.message_id, bytes(letter.payload or b""))
    letter.refresh_from_db()
    assert letter.status == DeadLetterStatus.REPLAYING


def test_replay_records_who_and_why(operator: Operator, make_dead_letter: MakeDeadLetter) -> None:
    letter = make_dead_letter()
    client = operator("view_deadletter", "replay_deadletter")

    client.post(verdict_url(letter), form(reason="rate added"))

    action = OperatorAction.objects.get()
    assert action.actor.startswith("operator-")
    assert (action.kind, action.dead_letter_id, action.reason) == ("replay", letter.pk, "rate added")


@pytest.mark.parametrize("permissions", [("view_deadletter",), ("view_deadletter", "discard_deadletter"), ()])
def test_replay_without_its_permission_is_refused_and_changes_nothing(
    operator: Operator, make_dead_letter: MakeDeadLetter, permissions: tuple[str, ...]
) -> None:
    letter = make_dead_letter()

    response = operator(*permissions).post(verdict_url(letter), form())

    assert response.status_code == 403
    assert not RetryMessage.objects.exists()
    assert not OperatorAction.objects.exists()


def test_a_forged_post_without_csrf_token_is_refused(operator: Operator, make_dead_letter: MakeDeadLetter) -> None:
    letter = make_dead_letter()

    response = operator("view_deadletter", "replay_deadletter", csrf=True).post(verdict_url(letter), form())

    assert response.status_code == 403
    assert not RetryMessage.objects.exists()


def test_a_get_never_replays(operator: Operator, make_dead_letter: MakeDeadLetter) -> None:
    letter = make_dead_letter()

    response = operator("view_deadletter", "replay_deadletter").get(verdict_url(letter))

    assert response.status_code == 405
    assert not RetryMessage.objects.exists()


def test_the_same_form_sent_twice_acts_once(operator: Operator, make_dead_letter: MakeDeadLetter) -> None:
    letter = make_dead_letter()
    client = operator("view_deadletter", "replay_deadletter")
    once = form()

    client.post(verdict_url(letter), once)
    client.post(verdict_url(letter), once)

    assert OperatorAction.objects.count() == 1
    assert RetryMessage.objects.count() == 1


@pytest.mark.parametrize("broken", [{"verdict": "explode"}, {"command_id": "no uuid"}])
def test_a_broken_form_is_a_bad_request(
    operator: Operator, make_dead_letter: MakeDeadLetter, broken: dict[str, str]
) -> None:
    letter = make_dead_letter()

    response = operator("view_deadletter", "replay_deadletter").post(verdict_url(letter), {**form(), **broken})

    assert response.status_code == 400
    assert not OperatorAction.objects.exists()


def test_discard_ends_a_dead_letter_for_good(operator: Operator, make_dead_letter: MakeDeadLetter) -> None:
    letter = make_dead_letter()

    operator("view_deadletter", "discard_deadletter").post(verdict_url(letter), form("discard"))

    letter.refresh_from_db()
    assert letter.status == DeadLetterStatus.DISCARDED
    assert not RetryMessage.objects.exists()


def test_bulk_replay_asks_first_and_then_replays_all_selected(
    operator: Operator, make_dead_letter: MakeDeadLetter
) -> None:
    letters = [make_dead_letter(position=n) for n in range(3)]
    client = operator("view_deadletter", "replay_deadletter")
    selection = {"action": "replay_selected", "_selected_action": [str(letter.pk) for letter in letters[:2]]}

    asked = client.post(reverse(CHANGELIST), selection)
    assert b"Replay 2 dead letters?" in asked.content
    assert not RetryMessage.objects.exists()
    client.post(reverse(CHANGELIST), {**selection, **form(), "confirmed": "yes"})

    assert set(RetryMessage.objects.values_list("key", flat=True)) == {letter.inbox_key for letter in letters[:2]}
    assert len(set(OperatorAction.objects.values_list("command_id", flat=True))) == 1


def test_bulk_replay_is_not_offered_without_its_permission(
    operator: Operator, make_dead_letter: MakeDeadLetter
) -> None:
    letter = make_dead_letter()
    client = operator("view_deadletter")
    forged = {"action": "replay_selected", "_selected_action": [str(letter.pk)], "confirmed": "yes", **form()}

    page = client.get(reverse(CHANGELIST))
    client.post(reverse(CHANGELIST), forged)

    assert b"replay_selected" not in page.content
    assert not RetryMessage.objects.exists()
