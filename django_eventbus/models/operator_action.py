"""Which operator did what, when, and why?"""

from __future__ import annotations

from uuid import uuid4

from django.db import models
from django.db.models.functions import Now


class OperatorActionKind(models.TextChoices):
    REPLAY = "replay", "replay"
    DISCARD = "discard", "discard"


class OperatorAction(models.Model):
    """Record one act on one dead letter; never updated, never deleted by the app."""

    id = models.BigAutoField(primary_key=True)
    command_id = models.UUIDField(default=uuid4)  # one per click or command; the same for all rows of a bulk action
    kind = models.TextField(choices=OperatorActionKind.choices)
    dead_letter_id = models.BigIntegerField()
    actor = models.TextField()  # username, or "command line: <os user>"
    reason = models.TextField(blank=True, default="")
    acted_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "eventbus_operator_action"
        default_permissions = ("view",)
        verbose_name = "operator action"
        constraints = [
            models.UniqueConstraint(fields=["command_id", "dead_letter_id"], name="eventbus_operator_action_once")
        ]
        indexes = [models.Index(fields=["dead_letter_id"], name="eventbus_action_dead_letter")]

    def __str__(self) -> str:
        return f"{self.actor} {self.kind} {self.dead_letter_id}"
