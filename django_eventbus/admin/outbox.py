"""What waits to be sent, what stepped aside, and what was sent?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.utils.safestring import SafeString

from django_eventbus.events.envelope import split_headers
from django_eventbus.models import ControlFlag, DeadLetter, OutboxLane, OutboxMessage, ParkedMessage, SentMessage
from django_eventbus.models.dead_letter import DeadLetterStatus, Direction
from django_eventbus.models.outbox import HELD_UNTIL

from .browsing import ReadOnlyAdmin, recent_values
from .facts import LISTED, NOTHING, aged, badge, link_to_list, moment, pairs, planned, stacked, table, text_of, until
from .payload import PayloadAdmin


class BusNameAdmin(ReadOnlyAdmin):
    """Name the bus of a row that holds its number."""

    def look_up(self, rows: Sequence[Any], *, using: str) -> None:
        names = dict(ControlFlag.objects.using(using).values_list("id", "bus"))
        for row in rows:
            row.bus_name = names.get(row.bus, str(row.bus))

    @admin.display(description="bus")
    def bus_name(self, row: Any) -> str:
        return str(row.bus_name)


class TravellingMessageAdmin(PayloadAdmin, BusNameAdmin):
    """Show messages in the form in which they travel."""

    heavy = ("headers", "payload")
    list_filter: ClassVar[tuple[Any, ...]] = (
        recent_values("event_name", title="event"),
        recent_values("topic", title="topic"),
    )

    @admin.display(description="event")
    def event(self, message: Any) -> SafeString:
        return stacked(message.event_name, message.event_id)

    @admin.display(description="topic and key")
    def route(self, message: Any) -> SafeString:
        return stacked(message.topic, f"key {text_of(message.key)}")

    @admin.display(description="key")
    def record_key(self, message: Any) -> str:
        return text_of(message.key)

    @admin.display(description="headers")
    def record_headers(self, message: Any) -> SafeString:
        return pairs(split_headers(message.headers))

    @admin.display(description="published")
    def published(self, message: Any) -> SafeString:
        return moment(message.created_at)

    @admin.display(description="sent")
    def sent(self, message: SentMessage) -> SafeString:
        return moment(message.sent_at)


@admin.register(OutboxMessage)
class OutboxMessageAdmin(TravellingMessageAdmin):
    """Show what no relay has sent yet."""

    about = "Events that are committed and not yet sent. Each row is deleted once the broker has acknowledged it."
    when_empty = "Nothing waits to be sent: every committed event is with the broker, or stepped aside into a lane."
    list_display = ("id", "event", "route", "bus_name", "waiting")
    fieldsets = (
        ("Message", {"fields": ("event_name", "event_id", "published")}),
        ("Route", {"fields": ("bus_name", "topic", "record_key", "shard")}),
        ("Content", {"fields": ("content", "record_headers")}),
    )
    readonly_fields = flatten_fieldsets(fieldsets)

    @admin.display(description="waiting")
    def waiting(self, message: OutboxMessage) -> SafeString:
        return aged(message.created_at)


@admin.register(SentMessage)
class SentMessageAdmin(TravellingMessageAdmin):
    """Show the archive of sent messages."""

    about = "The archive of sent events. It is written only where OUTBOX['RETENTION'] is set."
    when_empty = "Nothing is archived. Sent rows are kept only where OUTBOX['RETENTION'] is set."
    list_display = ("id", "event", "route", "bus_name", "sent_ago")
    fieldsets = (
        ("Message", {"fields": ("event_name", "event_id", "published", "sent")}),
        ("Route", {"fields": ("bus_name", "topic", "record_key", "shard")}),
        ("Content", {"fields": ("content", "record_headers")}),
    )
    readonly_fields = flatten_fieldsets(fieldsets)

    @admin.display(description="sent")
    def sent_ago(self, message: SentMessage) -> SafeString:
        return aged(message.sent_at)


@admin.register(OutboxLane)
class OutboxLaneAdmin(BusNameAdmin):
    """Show keys and topics that wait because one of their messages could not be sent."""

    about = (
        "Keys and topics whose messages stepped aside because one of them could not be sent. The relay tries again "
        "by itself; a lane that is held waits for a verdict on its dead letter."
    )
    when_empty = "No key and no topic is in trouble."
    list_display = ("id", "state", "route", "bus_name", "reason", "attempts", "due")
    list_filter = ("whole",)
    fieldsets = (
        ("Trouble", {"fields": ("state", "reason", "attempts", "next_probe", "dead_letters")}),
        ("Route", {"fields": ("bus_name", "topic", "record_key", "shard")}),
        ("Waiting", {"fields": ("parked",)}),
    )
    readonly_fields = flatten_fieldsets(fieldsets)

    @admin.display(description="state")
    def state(self, lane: OutboxLane) -> SafeString:
        return badge("held") if lane.available_at >= HELD_UNTIL else badge("waiting", "trying again")

    @admin.display(description="topic and key")
    def route(self, lane: OutboxLane) -> SafeString:
        return stacked(lane.topic, "(the whole topic)" if lane.whole else f"key {text_of(lane.key)}")

    @admin.display(description="key")
    def record_key(self, lane: OutboxLane) -> str:
        return "(the whole topic)" if lane.whole else text_of(lane.key)

    @admin.display(description="next attempt")
    def next_probe(self, lane: OutboxLane) -> str:
        return planned(lane.available_at)

    @admin.display(description="next attempt")
    def due(self, lane: OutboxLane) -> SafeString | str:
        return until(lane.available_at)

    @admin.display(description="dead letters")
    def dead_letters(self, lane: OutboxLane) -> SafeString | str:
        if lane.available_at < HELD_UNTIL:
            return NOTHING
        filters = {"direction__exact": Direction.OUT, "status__exact": DeadLetterStatus.DEAD}
        return link_to_list(DeadLetter, "Messages that could not be sent", using=lane._state.db, **filters)

    @admin.display(description=f"first {LISTED} messages")
    def parked(self, lane: OutboxLane) -> SafeString:
        waiting = ParkedMessage.objects.using(lane._state.db).filter(lane_id=lane.pk).order_by("id")
        rows = waiting.defer("headers", "payload")[:LISTED]
        return table(
            ("Outbox id", "Event", "Event id", "Waiting"),
            ((m.id, m.event_name, m.event_id, aged(m.created_at)) for m in rows),
        )
