"""Who owns a partition, since which epoch, and how far did the group get?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import connections, models
from django.db.models.functions import Now

from django_eventbus.conf.sections import LOCAL_SUFFIX

from .retry import RetryMessage

LOCK = "pg_advisory_xact_lock(('eventbus_partition'::regclass::oid::bigint << 32) | %s)"
EVICT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND mode = 'ShareLock' AND pid IS DISTINCT FROM pg_backend_pid()
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND classid = 'eventbus_partition'::regclass::oid AND objid = %s AND objsubid = 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a new owner finds on the partition's row."""

    partition_id: int
    epoch: int  # its own, just raised
    was_clean: bool  # the last owner gave the partition back
    low_water: int | None


class PartitionQuerySet(models.QuerySet["PartitionEpoch"]):
    def place(self, group: str, *, topic: str, number: int) -> int:
        """Return the id of a partition's row, creating it in the caller's transaction."""
        partition, _ = self.get_or_create(group=group, topic=topic, number=number)
        return partition.id

    def lock(self, partition_id: int, *, patience: timedelta) -> None:
        """Wait until no unit of work holds the partition; raise OperationalError after `patience`.

        Must run inside atomic, in a statement before the one that reads what the lock guards: one statement reads with
        the snapshot from before the wait. SQLite has one writer, whose transaction is the lock.
        """
        connection = connections[self.db]
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                milliseconds = round(patience.total_seconds() * 1000)
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{milliseconds}ms"])
                cursor.execute(f"SELECT {LOCK}", [partition_id])
            else:
                cursor.execute("UPDATE eventbus_partition SET epoch = epoch WHERE id = %s", [partition_id])

    def evict(self, partition_id: int) -> int:
        """End the database sessions that hold the partition shared: a frozen owner never lets go by itself."""
        connection = connections[self.db]
        if connection.vendor != "postgresql":
            return 0
        with connection.cursor() as cursor:
            cursor.execute(EVICT, [partition_id])
            return int(cursor.fetchone()[0])

    def raise_epoch(self, partition_id: int, *, owner: str, handlers: Sequence[str]) -> Taken:
        """Fence out every earlier owner; must run inside atomic, under `lock`."""
        before = self.get(id=partition_id)
        self.filter(id=partition_id).update(
            epoch=before.epoch + 1, owner=owner, is_clean=False, handlers=sorted(handlers)
        )
        return Taken(
            partition_id=partition_id,
            epoch=before.epoch + 1,
            was_clean=before.is_clean,
            low_water=before.low_water,
        )

    def advance(self, partition_id: int, *, epoch: int, low_water: int) -> None:
        """Note how far the group got; an owner that was fenced notes nothing."""
        self.filter(id=partition_id, epoch=epoch).update(low_water=low_water)

    def give_back(self, partition_id: int, *, epoch: int, low_water: int | None) -> None:
        """Leave the partition clean: nothing was running when its owner let go."""
        mine = self.filter(id=partition_id, epoch=epoch)
        if low_water is None:
            mine.update(is_clean=True, deaths={})
        else:
            mine.update(is_clean=True, deaths={}, low_water=low_water)

    def count_start(self, partition_id: int, *, epoch: int, what: str) -> int | None:
        """Count, before a message runs in careful mode, that it was started; None when the epoch is not ours.

        Must run in a transaction of its own: the count has to be committed before the message can kill the process.
        """
        mine = self.select_for_update().filter(id=partition_id, epoch=epoch).first()
        if mine is None:
            return None
        starts = int(mine.deaths.get(what, 0)) + 1
        mine.deaths[what] = starts
        mine.save(update_fields=["deaths"], using=self.db)
        return starts

    def forget_start(self, partition_id: int, *, epoch: int, what: str) -> None:
        """Forget a count: the message ran and its process lives. Must run inside atomic."""
        mine = self.select_for_update().filter(id=partition_id, epoch=epoch).first()
        if mine is not None and mine.deaths.pop(what, None) is not None:
            mine.save(update_fields=["deaths"], using=self.db)

    def abandoned(self, group: str, *, topics: Collection[str]) -> list[PartitionEpoch]:
        """Return partitions of topics that the group no longer reads but for which deliveries still wait.

        Those of local queues are none: who carries these queues out owns them.
        """
        waiting = RetryMessage.objects.using(self.db).filter(partition_id=models.OuterRef("id"))
        due = waiting.filter(available_at__lte=Now())
        read = models.Q(topic__in=topics) | models.Q(topic__endswith=LOCAL_SUFFIX)
        return list(self.filter(models.Exists(due), group=group).exclude(read))


class PartitionEpoch(models.Model):
    """Fence one (group, topic, partition): a unit of work commits only in the epoch that it began in."""

    id = models.AutoField(primary_key=True)  # 32 bits: the low half of the advisory lock's key
    group = models.TextField(db_column="group_name")
    topic = models.TextField()  # "{alias}:local" on a local queue, which no broker's topic can be called
    number = models.IntegerField()
    epoch = models.BigIntegerField(default=0)
    owner = models.TextField(blank=True, default="")
    is_clean = models.BooleanField(default=True)  # the last owner gave it back; False: it died, be careful
    low_water = models.BigIntegerField(null=True)  # next offset whose predecessors are all done
    handlers = models.JSONField(default=list)  # names that the group's owner had
    deaths = models.JSONField(default=dict)  # offset or lane -> times it was begun and did not end (careful mode)

    objects = PartitionQuerySet.as_manager()

    class Meta:
        db_table = "eventbus_partition"
        default_permissions = ("view",)
        verbose_name = "partition"
        constraints = [models.UniqueConstraint(fields=["group", "topic", "number"], name="eventbus_partition_unique")]

    def __str__(self) -> str:
        return f"{self.group} {self.topic}[{self.number}]"
