"""How does an operator act on rows: on one or on many, once confirmed, with a reason, by permission?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.contrib import messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from django_eventbus.models.operator_action import OperatorActionKind, VerdictReport
from django_eventbus.models.text import LONGEST_NAME, storable

from .browsing import ReadOnlyAdmin, database_of
from .facts import DATABASE, table

MOST = 500  # rows that one bulk action takes
NAMED = 20  # of them, named before the operator confirms


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Be one thing that an operator may do to rows."""

    carry_out: Callable[..., VerdictReport]  # ids, actor, reason, using, command_id
    permission: str
    warning: str  # what it means, told before it is confirmed
    became: str  # what the rows are afterwards, as in "12 messages cancelled"


class ActingAdmin(ReadOnlyAdmin):
    """Offer acts on selected rows and on the page of one; each is confirmed, carried out by POST, and recorded."""

    change_form_template = "admin/eventbus/acting.html"
    acts: Mapping[OperatorActionKind, Act] = {}
    confirmed_columns: Sequence[str] = ()  # heads of the table that the operator confirms
    where_more = "Narrow the list by its filters."

    def confirmed_cells(self, row: Any) -> Sequence[Any]:
        """Return what the operator sees of one row before confirming."""
        raise NotImplementedError

    def may(self, request: HttpRequest, kind: OperatorActionKind) -> bool:
        return kind in self.acts and request.user.has_perm(self.acts[kind].permission)

    def acts_on(self, row: Any) -> Sequence[OperatorActionKind]:
        """Return the acts that make sense for a row in its state."""
        return tuple(self.acts)

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        # Django 6.1 offers actions on the page of one row too, where the buttons stand already.
        if getattr(action_location, "value", "") == "CHANGE_FORM":
            return {}
        plural = self.opts.verbose_name_plural
        return {
            name_of(kind): (confirming(kind), name_of(kind), f"{kind.label.capitalize()} selected {plural}")
            for kind in self.acts
            if self.may(request, kind)
        }

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        possible = () if row is None else self.acts_on(row)
        offered = [kind for kind in possible if self.may(request, kind)]
        context = {"offered": offered, "act_query": f"?{DATABASE}={database_of(request)}"}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def decide(self, request: HttpRequest, kind: OperatorActionKind, ids: Sequence[int]) -> None:
        """Carry out one act and tell what became of it; raises PermissionDenied before anything is touched."""
        if not (self.has_view_permission(request) and self.may(request, kind)):
            raise PermissionDenied
        try:
            command_id = UUID(request.POST.get("command_id", ""))
        except ValueError as exc:
            raise BadRequest("A verdict needs the form's `command_id`, a UUID.") from exc
        report = self.acts[kind].carry_out(
            ids,
            actor=request.user.get_username(),
            reason=reason_of(request),
            using=database_of(request),
            command_id=command_id,
        )
        self.message_user(request, self.told(kind, report), messages.WARNING if report.refused else messages.SUCCESS)

    def confirm(self, request: HttpRequest, queryset: Any, *, kind: OperatorActionKind) -> HttpResponse | None:
        """Ask before the act; carry it out where the operator has said yes."""
        ids = list(queryset.values_list("pk", flat=True)[: MOST + 1])
        if len(ids) > MOST:
            self.message_user(request, f"These are more than {MOST}. {self.where_more}", messages.ERROR)
            return None
        if "confirmed" in request.POST:
            self.decide(request, kind, ids)
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": f"{kind.label.capitalize()} {self.counted(len(ids))}?",
            "opts": self.opts,
            "label": kind.label,
            "warning": self.acts[kind].warning,
            "ids": ids,
            "rows": table(self.confirmed_columns, [self.confirmed_cells(row) for row in queryset[:NAMED]]),
            "unnamed": max(0, len(ids) - NAMED),
            "list_url": request.get_full_path(),
            "action_name": name_of(kind),
            "command_id": uuid4(),
            "media": self.media,
        }
        return TemplateResponse(request, "admin/eventbus/confirm.html", context)

    def told(self, kind: OperatorActionKind, report: VerdictReport) -> str:
        """Say what became of an act, and of what it could not be carried out on."""
        done = ""
        if report.done or not report.refused:
            done = f"{self.counted(len(report.done))} {self.acts[kind].became}."
        refused = "; ".join(f"{number} ({why})" for number, why in report.refused.items())
        return f"{done} Not touched: {refused}.".lstrip() if refused else done

    def counted(self, number: int) -> str:
        return f"1 {self.opts.verbose_name}" if number == 1 else f"{number} {self.opts.verbose_name_plural}"


def reason_of(request: HttpRequest) -> str:
    """Return the reason that an operator gave, as the table takes it: no browser limits what is posted by hand."""
    return storable(request.POST.get("reason", ""), limit=LONGEST_NAME)


def name_of(kind: OperatorActionKind) -> str:
    return f"{kind}_selected"


def confirming(kind: OperatorActionKind) -> Callable[[ActingAdmin, HttpRequest, Any], HttpResponse | None]:
    """Return the action of a list, as Django calls it."""

    def confirm(admin: ActingAdmin, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        return admin.confirm(request, queryset, kind=kind)

    return confirm
