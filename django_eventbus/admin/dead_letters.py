"""How does an operator look at a dead letter and decide what becomes of it?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

from django.contrib import admin, messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from django_eventbus.delivery.replay import VerdictReport, discard, replay
from django_eventbus.models import DeadLetter, OperatorAction
from django_eventbus.models.dead_letter import DeadLetterStatus, unpack_headers
from django_eventbus.models.operator_action import OperatorActionKind

from .browsing import DATABASE, ReadOnlyAdmin, age, database_of, recent_values
from .payload import PayloadAdmin, table_of, text_of

VERDICTS: dict[OperatorActionKind, Callable[..., VerdictReport]] = {
    OperatorActionKind.REPLAY: replay,
    OperatorActionKind.DISCARD: discard,
}


@admin.register(DeadLetter)
class DeadLetterAdmin(PayloadAdmin, ReadOnlyAdmin):
    """Show what ended and why; replay or discard it by POST, with the permission for it."""

    change_form_template = "admin/eventbus/dead_letter.html"
    actions = ("replay_selected", "discard_selected")
    list_display = ("id", "status", "event_name", "handler", "topic", "shown_key", "exception", "attempts", "died")
    list_filter = (
        *("status", "direction", "reason"),
        recent_values("handler", title="handler"),
        recent_values("event_name", title="event"),
        recent_values("exception_type", title="exception"),
        recent_values("tenant_id", title="tenant"),
    )
    search_fields = ("message_id__exact",)
    search_help_text = "A message id, whole."
    fields = (
        *("status", "reason", "direction", "bus", "group", "handler", "event_name", "event_version", "message_id"),
        *("source", "correlation_id", "tenant_id", "topic", "partition_number", "position", "shown_key", "attempts"),
        *("times_dead", "published_at", "first_failed_at", "failed_at", "exception", "trace", "actions_taken"),
        *("record_headers", "content"),
    )
    readonly_fields = fields

    @admin.display(description="key")
    def shown_key(self, letter: DeadLetter) -> str:
        return text_of(letter.key)

    @admin.display(description="age")
    def died(self, letter: DeadLetter) -> str:
        return age(letter.failed_at)

    @admin.display(description="exception")
    def exception(self, letter: DeadLetter) -> str:
        return f"{letter.exception_type}: {letter.exception_message}"[:200] if letter.exception_type else letter.reason

    @admin.display(description="traceback")
    def trace(self, letter: DeadLetter) -> SafeString:
        return format_html('<pre class="eventbus-payload">{}</pre>', letter.traceback or "-")

    @admin.display(description="headers")
    def record_headers(self, letter: DeadLetter) -> SafeString:
        return table_of(unpack_headers(bytes(letter.headers)))

    @admin.display(description="operator actions")
    def actions_taken(self, letter: DeadLetter) -> SafeString:
        taken = OperatorAction.objects.using(letter._state.db).filter(dead_letter_id=letter.pk).order_by("id")
        rows = ((f"{a.acted_at:%Y-%m-%d %H:%M:%S}", a.actor, a.kind, a.reason) for a in taken)
        lines = format_html_join("", "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", rows)
        return format_html('<table class="eventbus-headers">{}</table>', lines) if lines else SafeString("-")

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
        is_dead = letter is not None and letter.status == DeadLetterStatus.DEAD
        context = {
            "verdicts": [kind for kind in OperatorActionKind if is_dead and self.may(request, kind)],
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
            raise BadRequest(f"A verdict needs `verdict` ({', '.join(OperatorActionKind)}) and a dead letter.") from exc
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
        level = messages.SUCCESS if report.done else messages.WARNING
        self.message_user(request, f"{kind.label}: {report}", level)

    @admin.action(description="Replay selected dead letters", permissions=["replay"])
    def replay_selected(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        return self.confirm(request, queryset, kind=OperatorActionKind.REPLAY)

    @admin.action(description="Discard selected dead letters", permissions=["discard"])
    def discard_selected(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        return self.confirm(request, queryset, kind=OperatorActionKind.DISCARD)

    def confirm(self, request: HttpRequest, queryset: Any, *, kind: OperatorActionKind) -> HttpResponse | None:
        ids = list(queryset.values_list("pk", flat=True))
        if "confirmed" in request.POST:
            self.decide(request, kind, ids)
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": f"{kind.label.capitalize()} {len(ids)} dead letters?",
            "opts": self.opts,
            "kind": kind,
            "letters": queryset,
            "action_name": f"{kind}_selected",
            "command_id": uuid4(),
        }
        return TemplateResponse(request, "admin/eventbus/confirm_verdict.html", context)
