"""Where does each saga stand, how did it come there, and how does an operator end it, undo it, or wake it?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten_fieldsets
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from django_eventbus.models import DeadLetter, OperatorAction, SagaHistory, SagaState
from django_eventbus.models.operator_action import OperatorActionKind
from django_eventbus.models.saga import SagaStatus
from django_eventbus.sagas.compensation import read_stack
from django_eventbus.sagas.declaration import sagas
from django_eventbus.sagas.operations import compensate, complete, fire_timeout, target_of
from django_eventbus.sagas.store import read_timeouts

from .acting import Act, ActingAdmin, reason_of
from .browsing import database_of, recent_values
from .facts import DATABASE, LISTED, NOTHING, aged, badge, link_to, moment, planned, stacked, table, until
from .payload import may_see
from .saga_views import current_stage, diagram, fields_of, indented, timeline

CONTROL = "eventbus.control_eventbus"
STEPS = 100  # of the history that a page shows
BADGES = {
    SagaStatus.RUNNING: "running",
    SagaStatus.COMPENSATING: "waiting",
    SagaStatus.COMPLETED: "handled",
    SagaStatus.COMPENSATED: "discarded",
}


@admin.register(SagaState)
class SagaStateAdmin(ActingAdmin):
    """Show the instances of sagas with their history; complete or compensate them, and fire their timeouts."""

    about = "Instances of sagas: where each stands, and what it waits for."
    when_empty = "No saga has been started yet, or all that ended were purged. See class Saga."
    change_form_template = "admin/eventbus/saga.html"
    heavy = ("state", "compensations")
    list_display = ("id", "standing", "instance", "waits_for", "taken", "moved")
    list_filter = ("status", recent_values("saga", title="saga"))
    search_fields = ("key__exact",)
    search_help_text = "The whole key of an instance."
    fieldsets = (
        ("Where it stands", {"fields": ("standing", "stages")}),
        ("History", {"fields": ("steps",)}),
        ("State", {"fields": ("content", "undoing")}),
        ("Instance", {"fields": ("saga", "key", "taken", "started", "moved_at", "ended", "bus")}),
        ("Related", {"fields": ("dead_letters", "actions_taken")}),
    )
    readonly_fields = flatten_fieldsets(fieldsets)
    acts = {
        OperatorActionKind.COMPLETE: Act(
            carry_out=complete,
            permission=CONTROL,
            warning="They end here and now. Nothing is published or undone, and what still comes for them is late.",
            became="completed",
        ),
        OperatorActionKind.COMPENSATE: Act(
            carry_out=compensate,
            permission=CONTROL,
            warning="What undoes their steps is published, the latest step first, and they end.",
            became="compensated",
        ),
    }
    confirmed_columns = ("Id", "Saga", "Key", "Status", "Steps", "Last step")

    def confirmed_cells(self, row: SagaState) -> Sequence[Any]:
        return (row.pk, row.saga, row.key, self.standing(row), row.version, aged(row.updated_at))

    def acts_on(self, row: SagaState) -> Sequence[OperatorActionKind]:
        is_open = not SagaStatus(row.status).is_final and sagas.find(row.saga) is not None
        return tuple(self.acts) if is_open else ()

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            row.shows_content = may_see(request)
        return row

    def get_urls(self) -> list[URLPattern]:
        fire = path(
            "<path:object_id>/fire/", self.admin_site.admin_view(self.fire_view), name="eventbus_sagastate_fire"
        )
        return [fire, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        may_fire = row is not None and bool(self.acts_on(row)) and request.user.has_perm(CONTROL)
        context = {"timeouts": self.timeouts(row) if row else [], "may_fire": may_fire, "command_id": uuid4()}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def fire_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Have one timeout come now, by POST."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not (self.has_view_permission(request) and request.user.has_perm(CONTROL)):
            raise PermissionDenied
        try:
            number, command_id = int(object_id), UUID(request.POST.get("command_id", ""))
        except ValueError as exc:
            raise BadRequest("A timeout is fired for a saga, with the form's `command_id`, a UUID.") from exc
        name, using = request.POST.get("timeout", ""), database_of(request)
        actor, reason = request.user.get_username(), reason_of(request)
        report = fire_timeout(number, name, actor=actor, reason=reason, using=using, command_id=command_id)
        refusal = "; ".join(report.refused.values())
        told = f"Timeout {name!r} not fired: {refusal}." if refusal else f"Timeout {name!r} comes now."
        self.message_user(request, told, messages.WARNING if refusal else messages.SUCCESS)
        url = reverse("admin:eventbus_sagastate_change", args=[object_id])
        return HttpResponseRedirect(f"{url}?{DATABASE}={using}")

    def timeouts(self, row: SagaState) -> list[tuple[str, str]]:
        """Return the timeouts that wait or are declared, each with when it comes."""
        armed = read_timeouts(row.timeouts)
        declaration = sagas.find(row.saga)
        declared = () if declaration is None or SagaStatus(row.status).is_final else declaration.timeouts
        waiting = [(name, planned(timeout.due_at)) for name, timeout in armed.items()]
        return waiting + [(name, "not set") for name in declared if name not in armed]

    @admin.display(description="status")
    def standing(self, row: SagaState) -> SafeString:
        status = SagaStatus(row.status)
        return badge(BADGES[status], status.label)

    @admin.display(description="saga and key")
    def instance(self, row: SagaState) -> SafeString:
        return stacked(row.saga, row.key)

    @admin.display(description="waits for")
    def waits_for(self, row: SagaState) -> SafeString | str:
        armed = sorted(read_timeouts(row.timeouts).items(), key=lambda named: named[1].due_at)
        if not armed:
            return NOTHING
        name, timeout = armed[0]
        return stacked(f"timeout {name}", until(timeout.due_at), f"and {len(armed) - 1} more" if armed[1:] else "")

    @admin.display(description="steps")
    def taken(self, row: SagaState) -> int:
        return row.version

    @admin.display(description="last step")
    def moved(self, row: SagaState) -> SafeString:
        return aged(row.updated_at)

    @admin.display(description="last step")
    def moved_at(self, row: SagaState) -> SafeString:
        return moment(row.updated_at)

    @admin.display(description="started")
    def started(self, row: SagaState) -> SafeString:
        return moment(row.created_at)

    @admin.display(description="ended")
    def ended(self, row: SagaState) -> SafeString:
        return moment(row.ended_at)

    @admin.display(description="stages")
    def stages(self, row: SagaState) -> SafeString | str:
        declaration = sagas.find(row.saga)
        if declaration is None:
            return f"{row.saga} is not declared here any more."
        return diagram(declaration, current=current_stage(declaration, row, fields_of(self._last_state(row))))

    @admin.display(description=f"last {STEPS} steps")
    def steps(self, row: SagaState) -> SafeString:
        return timeline(self._history(row)[:STEPS][::-1], shows_content=row.shows_content)  # type: ignore[attr-defined]

    @admin.display(description="state")
    def content(self, row: SagaState) -> SafeString | str:
        if not row.shows_content:  # type: ignore[attr-defined]
            return "hidden: it needs the permission to see payloads of messages"
        return format_html('<pre class="eventbus-text">{}</pre>', indented(self._last_state(row)))

    @admin.display(description="would be undone by")
    def undoing(self, row: SagaState) -> str:
        return ", ".join(each.name for each in reversed(read_stack(row.compensations))) or NOTHING

    @admin.display(description=f"last {LISTED} dead letters")
    def dead_letters(self, row: SagaState) -> SafeString:
        found = DeadLetter.objects.using(row._state.db).filter(saga=row.saga, saga_key=row.key)
        shown = found.defer("headers", "payload", "traceback").order_by("-id")[:LISTED]
        cells = ((link_to(d, d.pk), badge(d.status), d.event_name, d.handler, aged(d.failed_at)) for d in shown)
        return table(("Id", "State", "Event", "Handler", "Died"), cells, empty="none")

    @admin.display(description=f"last {LISTED} operator actions")
    def actions_taken(self, row: SagaState) -> SafeString:
        taken = OperatorAction.objects.using(row._state.db).filter(target=target_of(row)).order_by("-id")[:LISTED]
        rows = ((link_to(a, moment(a.acted_at)), a.actor, a.get_kind_display(), a.reason) for a in taken)
        return table(("When", "Who", "Act", "Reason"), rows)

    def _history(self, row: SagaState) -> Any:
        return SagaHistory.objects.using(row._state.db).filter(instance_id=row.pk).order_by("-version")

    def _last_state(self, row: SagaState) -> str | None:
        """Return the state; that of a model as its last step left it."""
        return row.state if row.state is not None else self._history(row).values_list("state", flat=True).first()
