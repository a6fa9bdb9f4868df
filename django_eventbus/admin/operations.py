"""What have operators done, and which buses share these tables?"""

from __future__ import annotations

from django.contrib import admin

from django_eventbus.models import ControlFlag, OperatorAction

from .browsing import ReadOnlyAdmin, recent_values


@admin.register(OperatorAction)
class OperatorActionAdmin(ReadOnlyAdmin):
    """Show who replayed or discarded which dead letter, and why."""

    list_display = ("acted_at", "actor", "kind", "dead_letter_id", "reason")
    list_filter = ("kind", recent_values("actor", title="actor"))
    fields = (*list_display, "command_id")
    readonly_fields = fields


@admin.register(ControlFlag)
class ControlFlagAdmin(ReadOnlyAdmin):
    """Show the buses that these tables serve."""

    list_display = ("id", "bus", "scope", "target")
    fields = list_display
    readonly_fields = fields
