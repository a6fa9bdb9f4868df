"""What waits for its time, and how does an operator call it back or let it go at once?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from django_eventbus.models import ControlFlag, ScheduledMessage
from django_eventbus.models.operator_action import OperatorActionKind
from django_eventbus.outbox.waiting import call_back, deliver_now

from .acting import Act, ActingAdmin
from .facts import planned, text_of, until
from .outbox import TravellingMessageAdmin

CONTROL = "eventbus.control_eventbus"
WEEK = timedelta(days=7)
LATER = ("later", "later than a week")
WITHIN = {
    "overdue": ("overdue for a minute", timedelta(minutes=-1)),
    "hour": ("within an hour", timedelta(hours=1)),
    "day": ("within a day", timedelta(days=1)),
    "week": ("within a week", WEEK),
}


class DueFilter(admin.SimpleListFilter):
    """Choose messages by the time that they wait for."""

    title = "due"
    parameter_name = "due"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*((value, label) for value, (label, _) in WITHIN.items()), LATER]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        if chosen == LATER[0]:
            return queryset.filter(due_at__gte=timezone.now() + WEEK)
        if chosen not in WITHIN:
            return queryset
        # The index begins with the bus: with the numbers named, it is read from the front of each up to the time.
        numbers = list(ControlFlag.objects.using(queryset.db).values_list("id", flat=True))
        return queryset.filter(bus__in=numbers, due_at__lt=timezone.now() + WITHIN[chosen][1])


@admin.register(ScheduledMessage)
class ScheduledMessageAdmin(ActingAdmin, TravellingMessageAdmin):
    """Show what waits for its time; cancel it, or deliver it now."""

    about = "Events that wait for their time. When it comes, the relay moves them into the outbox."
    when_empty = "Nothing waits for a time. See publish(delay=...) and publish(deliver_at=...)."
    listed_first = "next due"
    list_display = ("id", "event", "route", "bus_name", "due")
    list_filter = (DueFilter, *TravellingMessageAdmin.list_filter)
    search_fields = ("event_id",)
    search_help_text = "The whole id of an event."
    ordering = ("bus", "due_at", "id")  # as the index has them: a list of a million sorts nothing
    fieldsets = (
        ("Time", {"fields": ("due_exactly", "published")}),
        ("Message", {"fields": ("event_name", "event_id")}),
        ("Route", {"fields": ("bus_name", "topic", "record_key", "shard")}),
        ("Content", {"fields": ("content", "record_headers")}),
    )
    readonly_fields = flatten_fieldsets(fieldsets)
    acts = {
        OperatorActionKind.DELIVER_NOW: Act(
            carry_out=deliver_now,
            permission=CONTROL,
            warning="They are due at once: the relay sends them behind what of their keys waits in the outbox already.",
            became="on the way",
        ),
        OperatorActionKind.CANCEL: Act(
            carry_out=call_back,
            permission=CONTROL,
            warning="They are deleted and never sent. Timeouts of sagas are among them: a saga may wait for one.",
            became="cancelled",
        ),
    }
    confirmed_columns = ("Id", "Event", "Event id", "Topic and key", "Due")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Compare ids as such: as the texts that Django compares, no index would find them."""
        if not search_term:
            return queryset, False
        try:
            return queryset.filter(event_id=UUID(search_term.strip())), False
        except ValueError:
            return queryset.none(), False

    def confirmed_cells(self, row: ScheduledMessage) -> Sequence[Any]:
        return (row.pk, row.event_name, row.event_id, f"{row.topic} {text_of(row.key)}", planned(row.due_at))

    @admin.display(description="due")
    def due(self, message: ScheduledMessage) -> SafeString | str:
        return until(message.due_at)

    @admin.display(description="due")
    def due_exactly(self, message: ScheduledMessage) -> str:
        return planned(message.due_at)
