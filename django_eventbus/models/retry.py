"""Which deliveries wait for another attempt, and which wait behind them?"""

from __future__ import annotations

from hashlib import blake2b
from uuid import UUID

from django.db import models
from django.db.models.functions import Now


def lane_of(group: str, handler: str, topic: str, key: bytes) -> UUID:
    """Name the queue of one ordered handler for one key. This is wire: waiting rows are found by it."""
    digest = blake2b(f"{group}\0{handler}\0{topic}\0".encode() + key, digest_size=16).digest()
    return UUID(bytes=digest)


class Verdict(models.TextChoices):
    NONE = "", "none"
    REPLAY = "replay", "replay"
    DISCARD = "discard", "discard"


class RetryMessage(models.Model):
    """Be one delivery that failed, or that queues behind a failed one of its key.

    Only the owner of the partition runs or deletes these rows; operators insert them or set `verdict` and
    `available_at`.
    """

    key = models.UUIDField(primary_key=True)  # inbox key
    partition_id = models.IntegerField()  # PartitionEpoch row
    lane = models.UUIDField()  # lane_of(); the row's own key for unordered handlers and records without a key
    position = models.BigIntegerField()  # broker offset: the place in the lane
    handler = models.TextField()
    topic = models.TextField()
    message_id = models.TextField(blank=True, default="")
    event_name = models.TextField(blank=True, default="")
    record_key = models.BinaryField(null=True)
    headers = models.BinaryField()  # the record's headers, exactly: dead_letter.pack_headers
    payload = models.BinaryField(null=True)
    attempts = models.IntegerField(default=0)
    available_at = models.DateTimeField(null=True)  # None: behind another row; HELD_UNTIL: waits for a verdict
    verdict = models.TextField(choices=Verdict.choices, blank=True, default=Verdict.NONE)
    dead_letter_id = models.BigIntegerField(null=True)
    error_type = models.TextField(blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    first_failed_at = models.DateTimeField(null=True)
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "eventbus_retry"
        default_permissions = ("view",)
        verbose_name = "retry"
        verbose_name_plural = "retries"
        indexes = [
            models.Index(fields=["lane", "position"], name="eventbus_retry_lane"),
            models.Index(
                fields=["partition_id", "available_at"],
                name="eventbus_retry_due",
                condition=models.Q(available_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.handler} {self.message_id}"
