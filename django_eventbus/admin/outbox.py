"""What waits to be sent, what stepped aside, and what was sent?"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from django_eventbus.events.envelope import split_headers
from django_eventbus.models import OutboxLane, OutboxMessage, ParkedMessage, SentMessage
from django_eventbus.models.outbox import HELD_UNTIL

from .browsing import ReadOnlyAdmin, age, recent_values
from .payload import PayloadAdmin, table_of, text_of

LISTED = 20  # parked messages that a lane's page shows


class TravellingMessageAdmin(PayloadAdmin, ReadOnlyAdmin):
    """Show messages in the form in which they travel."""

    list_filter = (recent_values("event_name", title="event"), recent_values("topic", title="topic"))

    @admin.display(description="key")
    def record_key(self, message: Any) -> str:
        return text_of(message.key)

    @admin.display(description="headers")
    def record_headers(self, message: Any) -> SafeString:
        return table_of(split_headers(message.headers))


@admin.register(OutboxMessage)
class OutboxMessageAdmin(TravellingMessageAdmin):
    """Show what no relay has sent yet."""

    list_display = ("id", "event_name", "event_id", "topic", "record_key", "shard", "waiting")
    fields = ("id", "event_name", "event_id", "topic", "record_key", "shard", "created_at", "record_headers", "content")
    readonly_fields = fields

    @admin.display(description="waiting")
    def waiting(self, message: OutboxMessage) -> str:
        return age(message.created_at)


@admin.register(SentMessage)
class SentMessageAdmin(TravellingMessageAdmin):
    """Show the archive of sent messages."""

    list_display = ("id", "event_name", "event_id", "topic", "record_key", "sent_at")
    fields = (
        *("id", "event_name", "event_id", "topic", "record_key", "shard", "created_at", "sent_at"),
        *("record_headers", "content"),
    )
    readonly_fields = fields


@admin.register(OutboxLane)
class OutboxLaneAdmin(ReadOnlyAdmin):
    """Show keys and topics that wait because one of their messages could not be sent."""

    list_display = ("topic", "record_key", "whole", "reason", "attempts", "next_probe")
    list_filter = ("whole",)
    fields = ("topic", "record_key", "whole", "shard", "reason", "attempts", "next_probe", "parked")
    readonly_fields = fields

    @admin.display(description="key")
    def record_key(self, lane: OutboxLane) -> str:
        return "(the whole topic)" if lane.whole else text_of(lane.key)

    @admin.display(description="next probe")
    def next_probe(self, lane: OutboxLane) -> str:
        return "held for a verdict" if lane.available_at >= HELD_UNTIL else f"{lane.available_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description=f"first {LISTED} waiting messages")
    def parked(self, lane: OutboxLane) -> SafeString:
        waiting = ParkedMessage.objects.using(lane._state.db).filter(lane_id=lane.pk).order_by("id")[:LISTED]
        rows = ((m.id, m.event_name, m.event_id, age(m.created_at)) for m in waiting)
        return format_html(
            '<table class="eventbus-headers">{}</table>',
            format_html_join("", "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", rows),
        )
