"""What do the list and the page of dead letters show?"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from django_eventbus.models import DeadLetter, InboxMessage, OperatorAction, PartitionEpoch, RetryMessage, SagaState
from django_eventbus.models.dead_letter import Direction, unpack_headers

from .browsing import ReadOnlyAdmin, recent_values
from .deliveries import lane_table
from .facts import LISTED, NOTHING, aged, badge, link, link_to, link_to_list, moment, pairs, stacked, table, text_of
from .payload import PayloadAdmin

# Fields of the page, with the column without which they say nothing.
OPTIONAL = {
    "raised_by": "handler",
    "trace": "traceback",
    "attempts": "attempts",
    "group": "group",
    "event": "event_name",
    "message_id": "message_id",
    "source": "source",
    "published": "published_at",
    "correlation_id": "correlation_id",
    "tenant_id": "tenant_id",
    "of_saga": "saga",
    "inbox": "lane",
    "behind": "lane",
}


class DeadLetterPages(PayloadAdmin, ReadOnlyAdmin):
    """Show what ended, why, and what belongs to it."""

    about = "Messages that could not be handled, or not be sent. Mend the cause, then replay; or discard."
    when_empty = "No dead letters here. What fails for the last time comes into this list, with its exact bytes."
    heavy = ("headers", "payload", "traceback")
    list_display = ("id", "state", "message", "failure", "attempts", "died")
    list_filter = (
        "status",
        *(recent_values("handler", title="handler"), recent_values("event_name", title="event")),
        *(recent_values("exception_type", title="exception"), "reason", "direction"),
        recent_values("tenant_id", title="tenant"),
    )
    search_fields = ("message_id__exact",)
    search_help_text = "The whole id of a message."
    fieldsets = (
        ("Failure", {"fields": ("raised_by", "exception", "attempts", "failing", "trace")}),
        ("Content", {"fields": ("content", "record_headers")}),
        ("Message", {"fields": ("event", "message_id", "source", "published", "correlation_id", "tenant_id")}),
        ("Route", {"fields": ("topic", "shown_key", "place", "group", "bus", "direction")}),
        ("Related", {"fields": ("of_saga", "inbox", "behind", "actions_taken")}),
    )
    readonly_fields = flatten_fieldsets(fieldsets)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Leave out what this dead letter does not have."""
        absent = {field for field, column in OPTIONAL.items() if obj is not None and not getattr(obj, column)}
        sections = super().get_fieldsets(request, obj)
        return [(n, {**s, "fields": [field for field in s["fields"] if field not in absent]}) for n, s in sections]

    @admin.display(description="state")
    def state(self, letter: DeadLetter) -> SafeString:
        return badge(letter.status)

    @admin.display(description="message")
    def message(self, letter: DeadLetter) -> SafeString:
        return stacked(letter.event_name or "(unreadable)", letter.topic, f"key {text_of(letter.key)}")

    @admin.display(description="failure")
    def failure(self, letter: DeadLetter) -> SafeString:
        cause = letter.exception_type.rpartition(".")[2] or letter.get_reason_display()
        return stacked(letter.handler or f"({letter.get_reason_display()})", cause, letter.exception_message[:150])

    @admin.display(description="died")
    def died(self, letter: DeadLetter) -> SafeString:
        return aged(letter.failed_at)

    @admin.display(description="handler")
    def raised_by(self, letter: DeadLetter) -> SafeString | str:
        if not letter.handler:
            return NOTHING
        return self.alike(letter, letter.handler, handler=letter.handler)

    @admin.display(description="exception")
    def exception(self, letter: DeadLetter) -> SafeString:
        if not letter.exception_type:
            return format_html("{}", letter.exception_message or letter.get_reason_display())
        named = self.alike(letter, letter.exception_type, exception_type=letter.exception_type)
        return format_html("{}: {}", named, letter.exception_message) if letter.exception_message else named

    def alike(self, letter: DeadLetter, text: str, **filters: str) -> SafeString:
        return link_to_list(DeadLetter, text, using=letter._state.db, status__exact=letter.status, **filters)

    @admin.display(description="traceback")
    def trace(self, letter: DeadLetter) -> SafeString:
        return format_html('<pre class="eventbus-text">{}</pre>', letter.traceback or NOTHING)

    @admin.display(description="failed")
    def failing(self, letter: DeadLetter) -> SafeString:
        if letter.first_failed_at is None:
            return moment(letter.failed_at)
        return format_html("{}, first {}", moment(letter.failed_at), moment(letter.first_failed_at))

    @admin.display(description="event")
    def event(self, letter: DeadLetter) -> str:
        return f"{letter.event_name} version {letter.event_version or '(none)'}" if letter.event_name else NOTHING

    @admin.display(description="published")
    def published(self, letter: DeadLetter) -> SafeString:
        return moment(letter.published_at)

    @admin.display(description="place")
    def place(self, letter: DeadLetter) -> SafeString | str:
        if letter.partition_id is None:
            return f"outbox id {letter.position}"
        name = f"partition {letter.partition_number}"
        partition = link(PartitionEpoch, letter.partition_id, name, using=letter._state.db)
        return format_html("{}, position {}", partition, letter.position)

    @admin.display(description="key")
    def shown_key(self, letter: DeadLetter) -> str:
        return text_of(letter.key)

    @admin.display(description="saga")
    def of_saga(self, letter: DeadLetter) -> SafeString | str:
        """Lead to the instance that the message was for, or that published it."""
        told = f"{letter.saga} {letter.saga_key}"
        found = SagaState.objects.using(letter._state.db).filter(saga=letter.saga, key=letter.saga_key)
        row = found.only("id").first()
        return f"{told} (no such instance)" if row is None else link_to(row, told)

    @admin.display(description="inbox, retry")
    def inbox(self, letter: DeadLetter) -> SafeString | str:
        if letter.inbox_key is None or letter.direction == Direction.OUT:
            return NOTHING
        using = letter._state.db
        taken = InboxMessage.objects.using(using).filter(pk=letter.inbox_key).first()
        waits = RetryMessage.objects.using(using).filter(pk=letter.inbox_key).only("key").first()
        found = [link_to(taken, "taken into the inbox")] if taken else []
        found += [link_to(waits, "waits for its next attempt")] if waits else []
        return format_html_join(", ", "{}", ((each,) for each in found)) or NOTHING

    @admin.display(description=f"first {LISTED} in its lane")
    def behind(self, letter: DeadLetter) -> SafeString | str:
        return NOTHING if letter.lane is None else lane_table(letter.lane, using=letter._state.db)

    @admin.display(description="operator actions")
    def actions_taken(self, letter: DeadLetter) -> SafeString:
        taken = OperatorAction.objects.using(letter._state.db).filter(dead_letter_id=letter.pk).order_by("id")
        rows = ((link_to(a, moment(a.acted_at)), a.actor, a.kind, a.reason) for a in taken)
        return table(("When", "Who", "Act", "Reason"), rows)

    @admin.display(description="headers")
    def record_headers(self, letter: DeadLetter) -> SafeString:
        return pairs(unpack_headers(bytes(letter.headers)))
