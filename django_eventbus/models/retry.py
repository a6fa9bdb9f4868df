"""Which deliveries wait for another attempt, and which wait behind them?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

from django.db import connections, models
from django.db.models.functions import Now

from .outbox import HELD_UNTIL
from .text import LONGEST_MESSAGE, LONGEST_NAME, storable


def lane_of(group: str, handler: str, topic: str, key: bytes) -> UUID:
    """Name the queue of one ordered handler for one key. This is wire: waiting rows are found by it."""
    digest = blake2b(f"{group}\0{handler}\0{topic}\0".encode() + key, digest_size=16).digest()
    return UUID(int=int.from_bytes(digest, "big"))  # in half the time of UUID(bytes=)


class Verdict(models.TextChoices):
    NONE = "", "none"
    REPLAY = "replay", "replay"
    DISCARD = "discard", "discard"


class DueLane(NamedTuple):
    """Name a lane and its row whose time has come: a hint, read without a lock."""

    key: UUID
    lane: UUID
    partition_id: int
    topic: str
    record_key: bytes | None
    handler: str


class WaitingDelivery(NamedTuple):
    """One row of the table, as the owner of its partition reads it."""

    key: UUID
    partition_id: int
    lane: UUID
    position: int
    handler: str
    topic: str
    record_key: bytes | None
    headers: bytes
    payload: bytes | None
    attempts: int
    available_at: datetime | None
    verdict: str
    dead_letter_id: int | None
    first_failed_at: datetime | None
    received_at: datetime
    sends: int


class Begun(NamedTuple):
    """What a task has to know before it runs its handler."""

    lane: UUID
    partition_id: int
    starts: int  # this one included


FIRST_OF_LANES = """
SELECT r.* FROM unnest(%s::uuid[]) l CROSS JOIN LATERAL (
    SELECT {columns} FROM eventbus_retry WHERE lane = l ORDER BY position LIMIT %s) r
"""


class RetryQuerySet(models.QuerySet["RetryMessage"]):
    def due(self, partitions: Collection[int], *, limit: int) -> list[DueLane]:
        """Return lanes of these partitions whose time has come, the longest waiting first."""
        rows = self.filter(partition_id__in=partitions, available_at__lte=Now()).order_by("available_at")
        found: dict[UUID, DueLane] = {}
        for row in map(DueLane._make, rows.values_list(*DueLane._fields)[:limit]):
            found.setdefault(row.lane, row)
        return list(found.values())

    def next_due_at(self, partitions: Collection[int]) -> datetime | None:
        """Return when the next of these partitions' rows may run; rows held for a verdict don't count."""
        timed = self.filter(partition_id__in=partitions, available_at__lt=HELD_UNTIL)
        return timed.order_by("available_at").values_list("available_at", flat=True).first()

    def first_of(self, lanes: Sequence[UUID], *, limit: int) -> list[WaitingDelivery]:
        """Return the first rows of each lane, lane by lane in order; must run fenced."""
        if connections[self.db].vendor == "postgresql":
            statement = FIRST_OF_LANES.format(columns=", ".join(WaitingDelivery._fields))
            with connections[self.db].cursor() as cursor:
                cursor.execute(statement, [list(lanes), limit])
                return [WaitingDelivery(*row) for row in cursor.fetchall()]
        rows: list[WaitingDelivery] = []
        for lane in lanes:
            first = self.filter(lane=lane).order_by("position").values_list(*WaitingDelivery._fields)
            rows += map(WaitingDelivery._make, first[:limit])
        return rows

    def enqueue(self, rows: Sequence[RetryMessage]) -> None:
        """Insert rows; one that is already there stays as it is (a redelivery of a message that waits)."""
        self.bulk_create(rows, ignore_conflicts=True)

    def finish(self, keys: Collection[UUID]) -> None:
        """Delete rows whose delivery is over."""
        self.filter(key__in=keys)._raw_delete(self.db)  # no cascades, no signals

    def unlocked(self, keys: Collection[UUID]) -> set[UUID]:
        """Lock those of these rows that are due and that nobody has locked; return their keys. Inside atomic only."""
        free = self.filter(key__in=keys, available_at__lte=Now()).select_for_update(skip_locked=True)
        return set(free.values_list("key", flat=True))

    def hand_over(self, key: UUID, *, available_at: datetime) -> None:
        """Note that a task for a row is on its way, and when another one is sent if nothing comes of it."""
        self.filter(key=key).update(available_at=available_at, sends=models.F("sends") + 1)

    def begin(self, key: UUID, *, attempt: int, timeout: timedelta) -> Begun | None:
        """Count that a task begins with a row; None where its attempt is over, or another task is at work on it.

        Must run in a transaction of its own: the count has to be committed before the handler can kill the process.
        """
        mine = self.filter(key=key, attempts=attempt - 1).select_for_update(skip_locked=True)
        found = mine.values_list("lane", "partition_id", "starts", Now()).first()
        if found is None:
            return None
        lane, partition_id, starts, now = found
        self.filter(key=key).update(starts=starts + 1, available_at=now + timeout)
        return Begun(lane=lane, partition_id=partition_id, starts=starts + 1)

    def forget_start(self, key: UUID, *, attempt: int) -> bool:
        """Take back a count of `begin` that no death ended; False while a task is at work on the row. Inside atomic."""
        counted = self.filter(key=key, attempts=attempt - 1, starts__gt=0)
        if counted.select_for_update(skip_locked=True).first() is None:
            return not counted.exists()
        counted.update(starts=models.F("starts") - 1)
        return True

    def take(self, key: UUID, *, attempt: int) -> list[WaitingDelivery]:
        """Lock the row of a task for the rest of the transaction, and return it; nothing where somebody else has it."""
        mine = self.filter(key=key, attempts=attempt - 1).select_for_update(skip_locked=True)
        return [WaitingDelivery(*row) for row in mine.values_list(*WaitingDelivery._fields)]

    def postpone(self, key: UUID, *, available_at: datetime, attempts: int, error: BaseException) -> None:
        """Write down a failed attempt and the time of the next one."""
        failed = self.filter(key=key)
        failed.filter(first_failed_at=None).update(first_failed_at=Now())
        failed.update(
            available_at=available_at,
            attempts=attempts,
            sends=0,
            starts=0,
            verdict=Verdict.NONE,
            error_type=storable(type_name(error), limit=LONGEST_NAME),
            error_message=storable(str(error), limit=LONGEST_MESSAGE),
        )

    def set_apart(self, keys: Collection[UUID]) -> None:
        """Give rows lanes of their own, so that nothing waits behind them; where they are alone, they stay so."""
        self.filter(key__in=keys).update(lane=models.F("key"))

    def hold(self, key: UUID, *, attempts: int, dead_letter_id: int) -> None:
        """Keep a dead delivery at the head of its lane until an operator's verdict."""
        self.filter(key=key).update(
            available_at=HELD_UNTIL, attempts=attempts, dead_letter_id=dead_letter_id, verdict=Verdict.NONE
        )

    def promote(self, lanes: Collection[UUID]) -> bool:
        """Give the first row of each lane a time where it has none; return whether any got one.

        Only under the fence and in the key's own lane: a row that is queued behind at the same moment would be missed.
        """
        return bool(self._promote(self.filter(lane__in=lanes)))

    def heal(self, partition_id: int) -> int:
        """Give the first row of every lane of a partition a time where it has none; return how many got one."""
        return self._promote(self.filter(partition_id=partition_id))

    def _promote(self, rows: RetryQuerySet) -> int:
        earlier = RetryMessage.objects.using(self.db).filter(
            lane=models.OuterRef("lane"), position__lt=models.OuterRef("position")
        )
        return rows.filter(~models.Exists(earlier), available_at=None).update(available_at=Now())


def type_name(error: BaseException) -> str:
    """Name an exception class as operators filter by it."""
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


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
    sends = models.SmallIntegerField(default=0, db_default=0)  # tasks sent for this attempt, where it runs elsewhere
    starts = models.SmallIntegerField(default=0, db_default=0)  # of them, those that began; the last one may be at it
    available_at = models.DateTimeField(null=True)  # None: behind another row; HELD_UNTIL: waits for a verdict
    verdict = models.TextField(choices=Verdict.choices, blank=True, default=Verdict.NONE)
    dead_letter_id = models.BigIntegerField(null=True)
    error_type = models.TextField(blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    first_failed_at = models.DateTimeField(null=True)
    received_at = models.DateTimeField(db_default=Now())

    objects = RetryQuerySet.as_manager()

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
