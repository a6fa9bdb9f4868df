"""What recurs, how far is it, and how does an operator hold it back or have it happen now?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.http import HttpRequest
from django.utils.safestring import SafeString

from django_eventbus.models import OperatorAction, RecurringEvent
from django_eventbus.models.operator_action import OperatorActionKind
from django_eventbus.recurrence.description import MISSED
from django_eventbus.recurrence.operations import declared_of, pause, resume, run_now, target_of

from .acting import Act, ActingAdmin
from .browsing import recent_values
from .facts import LISTED, NOTHING, aged, badge, exact, link_to, moment, planned, stacked, table, until

CONTROL = "eventbus.control_eventbus"


@admin.register(RecurringEvent)
class RecurringEventAdmin(ActingAdmin):
    """Pause what recurs, let it go on, or have it happen once more."""

    about = "Functions of this project that publish events again and again, and when the relay calls each of them next."
    when_empty = "Nothing recurs here, or no relay has run since it was declared. See @recurring."
    list_display = ("name", "state", "times", "next_occurrence", "last_occurrence", "bus")
    list_filter = ("is_paused", recent_values("bus", title="bus"))
    search_fields = ("name",)
    ordering = ("name",)
    fieldsets = (
        ("Times", {"fields": ("state", "schedule", "missed", "next_planned", "last", "bus")}),
        ("Failure", {"fields": ("failures", "last_error", "next_attempt")}),
        ("Declaration", {"fields": ("name", "function")}),
        ("Related", {"fields": ("actions_taken",)}),
    )
    readonly_fields = flatten_fieldsets(fieldsets)
    acts = {
        OperatorActionKind.PAUSE: Act(
            carry_out=pause,
            permission=CONTROL,
            warning="No occurrence happens until it is resumed; those that fall into the pause do not happen later.",
            became="paused",
        ),
        OperatorActionKind.RESUME: Act(
            carry_out=resume,
            permission=CONTROL,
            warning="It goes on with the next occurrence to come; those that fell into the pause do not happen.",
            became="on their way again",
        ),
        OperatorActionKind.RUN_NOW: Act(
            carry_out=run_now,
            permission=CONTROL,
            warning="The function is called here, at once, and its events are published: an occurrence of its own, "
            "beside those that are planned.",
            became="happened once more",
        ),
    }
    confirmed_columns = ("Name", "State", "Times", "Next", "Last")

    def confirmed_cells(self, row: RecurringEvent) -> Sequence[Any]:
        return (row.name, self.state(row), row.schedule, self.next_occurrence(row), self.last_occurrence(row))

    def acts_on(self, row: RecurringEvent) -> Sequence[OperatorActionKind]:
        is_declared = declared_of(row) is not None
        offered = [] if row.is_paused else [OperatorActionKind.PAUSE]
        offered += [OperatorActionKind.RESUME] if row.is_paused and is_declared else []
        return (*offered, OperatorActionKind.RUN_NOW) if is_declared else offered

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Show failures only where there are some."""
        sections = super().get_fieldsets(request, obj)
        return [(name, section) for name, section in sections if name != "Failure" or obj is None or obj.failures]

    @admin.display(description="state")
    def state(self, row: RecurringEvent) -> SafeString:
        if declared_of(row) is None:
            return badge("idle", "not declared")
        if row.is_paused:
            return badge("held", "paused")
        return badge("dead", f"failed {row.failures} times") if row.failures else badge("owned", "active")

    @admin.display(description="times")
    def times(self, row: RecurringEvent) -> SafeString:
        return stacked(row.schedule, row.last_error[:150])

    @admin.display(description="next")
    def next_occurrence(self, row: RecurringEvent) -> SafeString | str:
        return until(row.next_at) if self._is_coming(row) else NOTHING

    @admin.display(description="last")
    def last_occurrence(self, row: RecurringEvent) -> SafeString:
        return aged(row.last_at)

    @admin.display(description="next")
    def next_planned(self, row: RecurringEvent) -> str:
        return planned(row.next_at) if self._is_coming(row) else NOTHING

    @admin.display(description="last")
    def last(self, row: RecurringEvent) -> SafeString:
        return moment(row.last_at)

    @admin.display(description="tried again")
    def next_attempt(self, row: RecurringEvent) -> str:
        return NOTHING if row.available_at is None else exact(row.available_at)

    @admin.display(description="missed ones")
    def missed(self, row: RecurringEvent) -> str:
        declared = declared_of(row)
        return NOTHING if declared is None else MISSED[declared.missed]

    @admin.display(description="function")
    def function(self, row: RecurringEvent) -> str:
        declared = declared_of(row)
        return "no longer declared" if declared is None else declared.declared_as

    @admin.display(description=f"last {LISTED} operator actions")
    def actions_taken(self, row: RecurringEvent) -> SafeString:
        taken = OperatorAction.objects.using(row._state.db).filter(target=target_of(row.name, bus=row.bus))
        shown = taken.order_by("-id")[:LISTED]
        rows = ((link_to(a, moment(a.acted_at)), a.actor, a.get_kind_display(), a.reason) for a in shown)
        return table(("When", "Who", "Act", "Reason"), rows)

    def _is_coming(self, row: RecurringEvent) -> bool:
        return row.next_at is not None and not row.is_paused and declared_of(row) is not None
