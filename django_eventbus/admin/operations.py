"""What have operators done, and which buses share these tables?"""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.utils.safestring import SafeString

from django_eventbus.models import ControlFlag, DeadLetter, OperatorAction

from .browsing import ReadOnlyAdmin, recent_values
from .facts import badge, link, moment


@admin.register(OperatorAction)
class OperatorActionAdmin(ReadOnlyAdmin):
    """Show who did what to which dead letter, message or recurring event, and why."""

    about = "What operators did, to what, when, and why. Rows are never changed."
    when_empty = "No operator has acted yet."
    list_display = ("id", "act", "actor", "acted_on", "reason", "acted")
    list_filter = ("kind", recent_values("actor", title="actor"))
    fieldsets = (("Act", {"fields": ("act", "acted_on", "actor", "reason", "acted", "command_id")}),)
    readonly_fields = flatten_fieldsets(fieldsets)

    @admin.display(description="act")
    def act(self, action: OperatorAction) -> SafeString:
        return badge(action.kind)

    @admin.display(description="on")
    def acted_on(self, action: OperatorAction) -> SafeString | str:
        number = action.dead_letter_id
        if number is None:
            return action.target
        return link(DeadLetter, number, f"dead letter {number}", using=action._state.db)

    @admin.display(description="when")
    def acted(self, action: OperatorAction) -> SafeString:
        return moment(action.acted_at)


@admin.register(ControlFlag)
class ControlFlagAdmin(ReadOnlyAdmin):
    """Show the buses that these tables serve."""

    about = "The buses that these tables serve, each with the number that stands for it in the outbox."
    when_empty = "No bus has a number yet; migrate gives it."
    list_display = ("id", "bus", "scope", "target")
    fields = list_display
    readonly_fields = fields
