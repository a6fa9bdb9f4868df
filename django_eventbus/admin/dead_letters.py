"""How does an operator decide what becomes of a dead letter?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

from django.contrib import admin, messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from django_eventbus.delivery.replay import VerdictReport, discard, replay
from django_eventbus.models import DeadLetter
from django_eventbus.models.dead_letter import DeadLetterStatus
from django_eventbus.models.operator_action import OperatorActionKind

from .advice import happened, next_step
from .browsing import database_of
from .dead_letter_pages import DeadLetterPages
from .facts import DATABASE, aged, badge

MOST = 500  # dead letters that one bulk action takes; the command replay_dead_letters has no bound
NAMED = 20  # of them, named before the operator confirms

VERDICTS: dict[OperatorActionKind, Callable[..., VerdictReport]] = {
    OperatorActionKind.REPLAY: replay,
    OperatorActionKind.DISCARD: discard,
}


@admin.register(DeadLetter)
class DeadLetterAdmin(DeadLetterPages):
    """Replay or discard dead letters by POST, with the permission for it."""

    change_form_template = "admin/eventbus/dead_letter.html"
    actions = ("replay_selected", "discard_selected")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("eventbus.replay_deadletter")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("eventbus.discard_deadletter")

    def may(self, request: HttpRequest, kind: OperatorActionKind) -> bool:
        match kind:
            case OperatorActionKind.REPLAY:
                return self.has_replay_permission(request)
            case OperatorActionKind.DISCARD:
                return self.has_discard_permission(request)
            case _:
                return False

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
            "may_not": is_dead and not self.has_replay_permission(request),
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

    def decide(self, request: HttpRequest, kind: OperatorActionKind, ids: Sequence[int]) -> None:
        """Carry out one verdict and tell what became of it; raises PermissionDenied before anything is touched."""
        if not (self.has_view_permission(request) and self.may(request, kind)):
            raise PermissionDenied
        try:
            command_id = UUID(request.POST.get("command_id", ""))
        except ValueError as exc:
            raise BadRequest("A verdict needs the form's `command_id`, a UUID.") from exc
        report = VERDICTS[kind](
            ids,
            actor=request.user.get_username(),
            reason=request.POST.get("reason", ""),
            using=database_of(request),
            command_id=command_id,
        )
        level = messages.WARNING if report.refused else messages.SUCCESS
        self.message_user(request, told(kind, report), level)

    @admin.action(description="Replay selected dead letters", permissions=["replay"])
    def replay_selected(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        return self.confirm(request, queryset, kind=OperatorActionKind.REPLAY)

    @admin.action(description="Discard selected dead letters", permissions=["discard"])
    def discard_selected(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        return self.confirm(request, queryset, kind=OperatorActionKind.DISCARD)

    def confirm(self, request: HttpRequest, queryset: Any, *, kind: OperatorActionKind) -> HttpResponse | None:
        ids = list(queryset.values_list("pk", flat=True)[: MOST + 1])
        if len(ids) > MOST:
            self.message_user(
                request,
                f"These are more than {MOST}. Narrow the list by its filters, or use manage.py replay_dead_letters.",
                messages.ERROR,
            )
            return None
        if "confirmed" in request.POST:
            self.decide(request, kind, ids)
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": f"{kind.label.capitalize()} {counted(len(ids))}?",
            "opts": self.opts,
            "kind": kind,
            "ids": ids,
            "letters": [(letter, aged(letter.failed_at)) for letter in queryset[:NAMED]],
            "unnamed": max(0, len(ids) - NAMED),
            "dead_letters_url": request.get_full_path(),
            "action_name": f"{kind}_selected",
            "command_id": uuid4(),
            "media": self.media,
        }
        return TemplateResponse(request, "admin/eventbus/confirm_verdict.html", context)


def told(kind: OperatorActionKind, report: VerdictReport) -> str:
    """Say what became of a verdict, and of what it could not be carried out on."""
    became = {OperatorActionKind.REPLAY: "on the way again", OperatorActionKind.DISCARD: "discarded"}
    done = f"{counted(len(report.done))} {became[kind]}." if report.done or not report.refused else ""
    refused = "; ".join(f"{number} ({why})" for number, why in report.refused.items())
    return f"{done} Not touched: {refused}.".lstrip() if refused else done


def counted(number: int) -> str:
    return "1 dead letter" if number == 1 else f"{number} dead letters"
