"""Which operator did what, when, and why?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID, uuid4

from django.db import models
from django.db.models.functions import Now


class OperatorActionKind(models.TextChoices):
    REPLAY = "replay", "replay"
    DISCARD = "discard", "discard"
    CANCEL = "cancel", "cancel"
    DELIVER_NOW = "deliver_now", "deliver now"
    PAUSE = "pause", "pause"
    RESUME = "resume", "resume"
    RUN_NOW = "run_now", "run now"
    COMPLETE = "complete", "complete"
    COMPENSATE = "compensate", "compensate"
    FIRE_TIMEOUT = "fire_timeout", "fire timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictReport:
    """Say what became of a request, row by row."""

    done: tuple[int, ...]
    refused: Mapping[int, str]  # id -> why

    def __str__(self) -> str:
        refusals = "; ".join(f"{number}: {why}" for number, why in self.refused.items())
        return f"{len(self.done)} done" + (f", {len(self.refused)} refused ({refusals})" if refusals else "")


class OperatorActionQuerySet(models.QuerySet["OperatorAction"]):
    def already_taken(self, command_id: UUID, dead_letter_ids: Iterable[int]) -> set[int]:
        """Return the dead letters on which this command has acted: a form that is sent twice acts once."""
        acted = self.filter(command_id=command_id, dead_letter_id__in=list(dead_letter_ids))
        return {number for number in acted.values_list("dead_letter_id", flat=True) if number is not None}

    def record(
        self, kind: OperatorActionKind, dead_letter_ids: Iterable[int], *, command_id: UUID, actor: str, reason: str
    ) -> None:
        """Write down an act on each dead letter, in the transaction of the act."""
        self.bulk_create(
            OperatorAction(kind=kind, dead_letter_id=number, command_id=command_id, actor=actor, reason=reason)
            for number in dead_letter_ids
        )

    def record_on(self, target: str, kind: OperatorActionKind, *, command_id: UUID, actor: str, reason: str) -> bool:
        """Write down an act on what is no dead letter, in the transaction of the act and before it.

        Return False where this very command has acted on it: a form that is sent twice acts once.
        """
        named = {"kind": kind, "actor": actor, "reason": reason}
        return self.get_or_create(command_id=command_id, target=target, defaults=named)[1]

    def already_taken_on(self, command_id: UUID, targets: Iterable[str]) -> set[str]:
        """Return those of other things on which this command has acted, whatever it did to them."""
        return set(self.filter(command_id=command_id, target__in=list(targets)).values_list("target", flat=True))

    def record_on_many(
        self, targets: Iterable[str], kind: OperatorActionKind, *, command_id: UUID, actor: str, reason: str
    ) -> None:
        """Write down an act on things of which none is among those `already_taken_on`, in the transaction of the act.

        Two of them may have one name.
        """
        acts = (
            OperatorAction(kind=kind, target=target, command_id=command_id, actor=actor, reason=reason)
            for target in targets
        )
        self.bulk_create(acts, ignore_conflicts=True)


class OperatorAction(models.Model):
    """Record one act on one thing; never updated, never deleted by the app."""

    id = models.BigAutoField(primary_key=True)
    command_id = models.UUIDField(default=uuid4)  # one per click or command; the same for all rows of a bulk action
    kind = models.TextField(choices=OperatorActionKind.choices)
    dead_letter_id = models.BigIntegerField(null=True)
    target = models.TextField(blank=True, default="")  # what else it was: "recurring shop.nightly"
    actor = models.TextField()  # username, or "command line: <os user>"
    reason = models.TextField(blank=True, default="")
    acted_at = models.DateTimeField(db_default=Now())

    objects = OperatorActionQuerySet.as_manager()

    class Meta:
        db_table = "eventbus_operator_action"
        default_permissions = ("view",)
        verbose_name = "operator action"
        constraints = [
            models.UniqueConstraint(fields=["command_id", "dead_letter_id"], name="eventbus_operator_action_once"),
            models.UniqueConstraint(
                fields=["target", "command_id"], condition=~models.Q(target=""), name="eventbus_action_target_once"
            ),
        ]
        indexes = [models.Index(fields=["dead_letter_id"], name="eventbus_action_dead_letter")]

    def __str__(self) -> str:
        return f"{self.actor} {self.kind} {self.target or self.dead_letter_id}"
