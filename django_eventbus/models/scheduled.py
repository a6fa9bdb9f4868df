"""Which messages wait for their time, and who may still call them back?

They wait in a table of their own, so that a million of them cost the relay's reads nothing. Who deletes a row decides:
the relay moves it into the outbox, or a caller cancels it; the row's lock lets one of them win.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from django.db import connections, models

from .insertion import insert_rows
from .outbox import NewMessage, TravellingMessage, columns_of

INTO = "INSERT INTO eventbus_scheduled (event_id, bus, shard, topic, key, headers, payload, event_name, due_at)"


class ScheduledQuerySet(models.QuerySet["ScheduledMessage"]):
    def append(self, messages: Sequence[NewMessage], *, due_at: datetime) -> None:
        """Insert messages, in their order, with one statement; joins the caller's transaction on this alias."""
        connection = connections[self.db]
        moment = connection.ops.adapt_datetimefield_value(due_at)
        insert_rows(connection, INTO, [(*columns, moment) for columns in columns_of(messages, connection)])

    def cancel(self, event_id: UUID, *, buses: Collection[int]) -> bool:
        """Delete a message that still waits; say whether it did. Joins the caller's transaction.

        Where the relay is moving it at this moment, the answer comes once that is decided.
        """
        return self.filter(event_id=event_id, bus__in=buses).delete()[0] > 0

    def reschedule(self, event_id: UUID, *, buses: Collection[int], due_at: datetime) -> bool:
        """Give a message that still waits another time; say whether it did. Joins the caller's transaction."""
        return self.filter(event_id=event_id, bus__in=buses).update(due_at=due_at) > 0


class ScheduledMessage(TravellingMessage):
    """Be one event that waits for its time; the relay moves it into the outbox, where it takes its place."""

    id = models.BigAutoField(primary_key=True)  # decides between messages that are due at the same moment
    due_at = models.DateTimeField()

    objects = ScheduledQuerySet.as_manager()

    class Meta:
        db_table = "eventbus_scheduled"
        default_permissions = ("view",)
        verbose_name = "scheduled message"
        indexes = [
            models.Index(fields=["bus", "due_at", "id"], name="eventbus_scheduled_due"),
            models.Index(fields=["event_id"], name="eventbus_scheduled_event"),
        ]

    def __str__(self) -> str:
        return f"{self.event_name} {self.event_id}"
