"""How does an operator decide what becomes of a dead letter?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from django.contrib import admin
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from django_eventbus.delivery.replay import discard, replay
from django_eventbus.models import DeadLetter
from django_eventbus.models.dead_letter import DeadLetterStatus
from django_eventbus.models.operator_action import OperatorActionKind

from .acting import Act, ActingAdmin
from .advice import happened, next_step
from .browsing import database_of
from .dead_letter_pages import DeadLetterPages
from .facts import DATABASE, aged, badge

VERDICTS = {
    OperatorActionKind.REPLAY: Act(
        carry_out=replay,
        permission="eventbus.replay_deadletter",
        warning=(
            "Of each message only the handler that failed runs again, under the same message id and at its old place "
            "in the order of its key. What could not be sent goes into the outbox again."
        ),
        became="on the way again",
    ),
    OperatorActionKind.DISCARD: Act(
        carry_out=discard,
        permission="eventbus.discard_deadletter",
        warning=(
            "They will not be handled, and cannot be replayed afterwards. They stay listed as discarded; keys that "
            "wait for them go on."
        ),
        became="discarded",
    ),
}


@admin.register(DeadLetter)
class DeadLetterAdmin(ActingAdmin, DeadLetterPages):
    """Replay or discard dead letters by POST, with the permission for it."""

    acts = VERDICTS
    change_form_template = "admin/eventbus/dead_letter.html"
    confirmed_columns = ("Id", "State", "Event", "Handler or topic", "Exception", "Died")
    where_more = "Narrow the list by its filters, or use manage.py replay_dead_letters."

    def confirmed_cells(self, row: DeadLetter) -> Sequence[Any]:
        cause = row.exception_type or row.get_reason_display()
        name = row.event_name or "(unreadable)"
        return (row.pk, row.status, name, row.handler or row.topic, cause, aged(row.failed_at))

    def get_urls(self) -> list[URLPattern]:
        verdict = path(
            "<path:object_id>/verdict/",
            self.admin_site.admin_view(self.verdict_view),
            name="eventbus_deadletter_verdict",
        )
        return [verdict, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        letter = self.get_object(request, object_id)
        if letter is None:
            return super().change_view(request, object_id, form_url, extra_context)
        is_dead = letter.status == DeadLetterStatus.DEAD
        context = {
            "letter": letter,
            "state": badge(letter.status),
            "died": aged(letter.failed_at),
            "happened": happened(letter),
            "next_step": next_step(letter),
            "verdicts": [kind for kind in VERDICTS if is_dead and self.may(request, kind)],
            "may_not": is_dead and not self.may(request, OperatorActionKind.REPLAY),
            "command_id": uuid4(),
            "verdict_query": f"?{DATABASE}={database_of(request)}",
        }
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def verdict_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        try:
            kind, target = OperatorActionKind(request.POST.get("verdict", "")), int(object_id)
        except ValueError as exc:
            raise BadRequest(f"A verdict needs `verdict` ({', '.join(VERDICTS)}) and a dead letter.") from exc
        self.decide(request, kind, [target])
        url = reverse("admin:eventbus_deadletter_change", args=[object_id])
        return HttpResponseRedirect(f"{url}?{DATABASE}={database_of(request)}")
