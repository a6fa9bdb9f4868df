"""What has the database taken, what waits for another attempt, and who owns which partition?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from django_eventbus.models import DeadLetter, InboxMessage, PartitionEpoch, RetryMessage
from django_eventbus.models.dead_letter import unpack_headers
from django_eventbus.models.inbox import inbox_key
from django_eventbus.models.outbox import HELD_UNTIL

from .browsing import ReadOnlyAdmin, recent_values
from .facts import LISTED, NOTHING, aged, badge, link_to, moment, pairs, planned, stacked, table, text_of, until
from .payload import PayloadAdmin


class DeliveryAdmin(ReadOnlyAdmin):
    """Show deliveries: one message for one handler, with what became of it."""

    search_fields = ("key",)

    def look_up(self, rows: Sequence[Any], *, using: str) -> None:
        keys = [row.key for row in rows]
        partitions = PartitionEpoch.objects.using(using).in_bulk({row.partition_id for row in rows})
        dead = DeadLetter.objects.using(using).filter(inbox_key__in=keys).only("id", "status", "inbox_key")
        letters = {letter.inbox_key: letter for letter in dead}
        waiting = RetryMessage.objects.using(using).only("key", "available_at").in_bulk(keys)
        for row in rows:
            row.found_partition = partitions.get(row.partition_id)
            row.found_letter = letters.get(row.key)
            row.found_retry = waiting.get(row.key)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return (queryset.filter(deliveries_of(search_term)) if search_term else queryset), False

    @admin.display(description="partition")
    def partition(self, row: Any) -> SafeString | str:
        return NOTHING if row.found_partition is None else link_to(row.found_partition, row.found_partition)

    @admin.display(description="partition")
    def place(self, row: Any) -> SafeString:
        partition = row.found_partition
        topic = NOTHING if partition is None else f"{partition.topic or 'local'}[{partition.number}]"
        return stacked(topic, f"position {row.position}")

    @admin.display(description="dead letter")
    def dead_letter(self, row: Any) -> SafeString | str:
        letter = row.found_letter
        return NOTHING if letter is None else link_to(letter, f"dead letter {letter.pk}: {letter.status}")

    @admin.display(description="received")
    def received(self, row: Any) -> SafeString:
        return moment(row.received_at)

    @admin.display(description="age")
    def taken(self, row: Any) -> SafeString:
        return aged(row.received_at)


@admin.register(InboxMessage)
class InboxMessageAdmin(DeliveryAdmin):
    """Show which deliveries the database has taken."""

    about = "Deliveries that this database has taken. A message that comes again for the same handler is dropped."
    when_empty = "No handler has taken a message yet, or all were purged after INBOX['RETENTION']."
    list_display = ("key", "state", "handler", "place", "taken")
    list_filter = (recent_values("handler", title="handler"),)
    search_help_text = "A key, or the id of a message (found where the id is a UUIDv7)."
    fieldsets = (
        ("Delivery", {"fields": ("handler", "state", "dead_letter", "retry", "received")}),
        ("Place", {"fields": ("partition", "position", "key")}),
    )
    readonly_fields = ("handler", "state", "dead_letter", "retry", "received", "partition", "position", "key")

    @admin.display(description="state")
    def state(self, message: Any) -> SafeString:
        letter, retry = message.found_letter, message.found_retry
        if retry is not None:
            return badge("held" if (retry.available_at == HELD_UNTIL) else "waiting")
        return badge("handled") if letter is None else link_to(letter, badge(letter.status))

    @admin.display(description="retry")
    def retry(self, message: Any) -> SafeString | str:
        return NOTHING if message.found_retry is None else link_to(message.found_retry, "waits for another attempt")


@admin.register(RetryMessage)
class RetryMessageAdmin(PayloadAdmin, DeliveryAdmin):
    """Show deliveries that failed, and those that queue behind them."""

    about = (
        "Deliveries that failed and run again by themselves, and later ones of the same key that wait behind them. "
        "Other keys and other handlers go on. What a task elsewhere has to handle waits here too."
    )
    when_empty = "No delivery waits for another attempt."
    heavy = ("headers", "payload")
    list_display = ("key", "state", "delivery", "failure", "attempts", "due")
    list_filter = (recent_values("handler", title="handler"), recent_values("event_name", title="event"))
    search_help_text = "A key, or the id of a message (found where the id is a UUIDv7)."
    fieldsets = (
        ("Delivery", {"fields": ("handler", "state", "attempts", "next_attempt", "verdict", "dead_letter")}),
        ("Failure", {"fields": ("error_type", "error_message", "first_failure")}),
        ("Message", {"fields": ("event_name", "message_id", "shown_key", "partition", "position", "received", "key")}),
        ("Lane", {"fields": ("lane_rows",)}),
        ("Content", {"fields": ("content", "record_headers")}),
    )
    readonly_fields = flatten_fieldsets(fieldsets)

    @admin.display(description="state")
    def state(self, message: RetryMessage) -> SafeString:
        if message.available_at is None:
            return badge("behind")
        if message.sends:
            return badge("waiting", "begun elsewhere" if message.starts else "sent elsewhere")
        return badge("held" if message.available_at == HELD_UNTIL else "waiting")

    @admin.display(description="delivery")
    def delivery(self, message: RetryMessage) -> SafeString:
        return stacked(message.handler or NOTHING, message.event_name, f"key {text_of(message.record_key)}")

    @admin.display(description="failure")
    def failure(self, message: RetryMessage) -> SafeString:
        return stacked(message.error_type.rpartition(".")[2] or NOTHING, message.error_message[:200])

    @admin.display(description="record key")
    def shown_key(self, message: RetryMessage) -> str:
        return text_of(message.record_key)

    @admin.display(description="next attempt")
    def next_attempt(self, message: RetryMessage) -> str:
        return planned(message.available_at)

    @admin.display(description="next attempt")
    def due(self, message: RetryMessage) -> SafeString | str:
        return until(message.available_at)

    @admin.display(description="first failed")
    def first_failure(self, message: RetryMessage) -> SafeString:
        return moment(message.first_failed_at)

    @admin.display(description=f"first {LISTED} of its key")
    def lane_rows(self, message: RetryMessage) -> SafeString:
        return lane_table(message.lane, using=message._state.db)

    @admin.display(description="headers")
    def record_headers(self, message: RetryMessage) -> SafeString:
        return pairs(unpack_headers(bytes(message.headers)))


@admin.register(PartitionEpoch)
class PartitionEpochAdmin(ReadOnlyAdmin):
    """Show who owns which partition and how far each group got."""

    about = "Which worker owns which partition for which group, and up to which offset everything is done."
    when_empty = "No worker has taken a partition yet. consume_events does, once the topics exist."
    list_display = ("partition", "state", "group", "owner", "done", "epoch")
    list_filter = (recent_values("group", title="group"), recent_values("topic", title="topic"))
    fieldsets = (
        ("Partition", {"fields": ("group", "topic", "number", "done")}),
        ("Owner", {"fields": ("state", "owner", "epoch", "handler_names", "unended")}),
        ("Waiting", {"fields": ("waiting",)}),
    )
    readonly_fields = flatten_fieldsets(fieldsets)

    @admin.display(description="partition")
    def partition(self, row: PartitionEpoch) -> str:
        return f"{row.topic or 'local'}[{row.number}]"

    @admin.display(description="state")
    def state(self, row: PartitionEpoch) -> SafeString:
        if row.deaths:
            return badge("careful")
        return badge("idle", "given back") if row.is_clean else badge("owned")

    @admin.display(description="done below")
    def done(self, row: PartitionEpoch) -> str:
        return NOTHING if row.low_water is None else f"{row.low_water}"

    @admin.display(description="begun, not ended")
    def unended(self, row: PartitionEpoch) -> str:
        starts = ", ".join(f"{what}: {count} times" for what, count in row.deaths.items())
        return f"{starts} (run one at a time, each counted, since a process died)" if starts else NOTHING

    @admin.display(description="handlers")
    def handler_names(self, row: PartitionEpoch) -> str:
        return ", ".join(row.handlers) or NOTHING

    @admin.display(description=f"next {LISTED} attempts")
    def waiting(self, row: PartitionEpoch) -> SafeString:
        due = RetryMessage.objects.using(row._state.db).filter(partition_id=row.pk, available_at__isnull=False)
        return delivery_table(due.order_by("available_at"))


def deliveries_of(term: str) -> Q:
    """Select a delivery by its key, or the deliveries of a message by the time that both ids begin with."""
    try:
        wanted = UUID(term)
    except ValueError:
        return Q(pk__in=[])
    if wanted.version != 7:
        return Q(key=wanted)
    first = UUID(int=inbox_key("", "", str(wanted)).int >> 80 << 80)
    last = UUID(int=first.int | (1 << 80) - 1)
    return Q(key=wanted) | Q(key__range=(first, last))


def lane_table(lane: UUID, *, using: str | None) -> SafeString:
    """List what waits in a lane, in its order."""
    return delivery_table(RetryMessage.objects.using(using).filter(lane=lane).order_by("position"))


def delivery_table(rows: QuerySet[RetryMessage]) -> SafeString:
    lines = (
        (link_to(row, row.position), row.handler, row.event_name, row.message_id, planned(row.available_at))
        for row in rows.defer("headers", "payload")[:LISTED]
    )
    nothing = format_html('<span class="eventbus-quiet">{}</span>', "nothing waits")
    return table(("Position", "Handler", "Event", "Message id", "Next attempt"), lines, empty=nothing)
