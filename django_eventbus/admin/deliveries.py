"""What has the database taken, what waits for another attempt, and who owns which partition?"""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from django_eventbus.models import DeadLetter, InboxMessage, PartitionEpoch, RetryMessage
from django_eventbus.models.dead_letter import unpack_headers
from django_eventbus.models.outbox import HELD_UNTIL

from .browsing import DATABASE, ReadOnlyAdmin, age, recent_values
from .payload import PayloadAdmin, table_of, text_of


@admin.register(InboxMessage)
class InboxMessageAdmin(ReadOnlyAdmin):
    """Show which deliveries the database has taken."""

    list_display = ("key", "handler", "position", "received_at", "taken")
    list_filter = (recent_values("handler", title="handler"),)
    fields = ("key", "handler", "partition", "position", "received_at", "status")
    readonly_fields = fields

    @admin.display(description="age")
    def taken(self, message: InboxMessage) -> str:
        return age(message.received_at)

    @admin.display(description="partition")
    def partition(self, message: InboxMessage) -> str:
        return partition_name(message.partition_id, using=message._state.db)

    @admin.display(description="status")
    def status(self, message: InboxMessage) -> SafeString:
        using = message._state.db
        dead = DeadLetter.objects.using(using).filter(inbox_key=message.key).first()
        if dead is not None:
            url = reverse("admin:eventbus_deadletter_change", args=[dead.pk])
            return format_html(
                '<a href="{}?{}={}">{}</a>', url, DATABASE, using, f"dead letter {dead.pk}: {dead.status}"
            )
        waits = RetryMessage.objects.using(using).filter(pk=message.key).exists()
        return format_html("{}", "waits for another attempt" if waits else "handled")


@admin.register(RetryMessage)
class RetryMessageAdmin(PayloadAdmin, ReadOnlyAdmin):
    """Show deliveries that failed, and those that queue behind them."""

    list_display = ("key", "handler", "event_name", "message_id", "shown_key", "attempts", "next_attempt", "error_type")
    list_filter = (recent_values("handler", title="handler"), recent_values("event_name", title="event"))
    fields = (
        *("key", "handler", "event_name", "message_id", "partition", "position", "shown_key", "attempts"),
        *("next_attempt", "verdict", "error_type", "error_message", "first_failed_at", "received_at"),
        *("record_headers", "content"),
    )
    readonly_fields = fields

    @admin.display(description="record key")
    def shown_key(self, message: RetryMessage) -> str:
        return text_of(message.record_key)

    @admin.display(description="partition")
    def partition(self, message: RetryMessage) -> str:
        return partition_name(message.partition_id, using=message._state.db)

    @admin.display(description="next attempt")
    def next_attempt(self, message: RetryMessage) -> str:
        if message.available_at is None:
            return "behind an earlier message of its key"
        if message.available_at >= HELD_UNTIL:
            return "held for a verdict"
        return f"{message.available_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="headers")
    def record_headers(self, message: RetryMessage) -> SafeString:
        return table_of(unpack_headers(bytes(message.headers)))


@admin.register(PartitionEpoch)
class PartitionEpochAdmin(ReadOnlyAdmin):
    """Show who owns which partition and how far each group got."""

    list_display = ("group", "topic", "number", "owner", "epoch", "low_water", "is_clean")
    fields = (*list_display, "handlers", "deaths")
    readonly_fields = fields


def partition_name(partition_id: int | None, *, using: str | None) -> str:
    """Name group, topic and number of a partition row that may be gone."""
    row = None if partition_id is None else PartitionEpoch.objects.using(using).filter(pk=partition_id).first()
    return str(row) if row is not None else "-"
