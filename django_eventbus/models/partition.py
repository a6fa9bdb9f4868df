"""Who owns a partition, since which epoch, and how far did the group get?"""

from __future__ import annotations

from django.db import models


class PartitionEpoch(models.Model):
    """Fence one (group, topic, partition): a unit of work commits only in the epoch that it began in."""

    id = models.AutoField(primary_key=True)  # 32 bits: the low half of the advisory lock's key
    group = models.TextField(db_column="group_name")
    topic = models.TextField()  # empty on the local transport
    number = models.IntegerField()
    epoch = models.BigIntegerField(default=0)
    owner = models.TextField(blank=True, default="")
    is_clean = models.BooleanField(default=True)  # the last owner gave it back; False: it died, be careful
    low_water = models.BigIntegerField(null=True)  # next offset whose predecessors are all done
    handlers = models.JSONField(default=list)  # names that the group's owner had
    deaths = models.JSONField(default=dict)  # offset -> times that a process died on it (careful mode)

    class Meta:
        db_table = "eventbus_partition"
        default_permissions = ("view",)
        verbose_name = "partition"
        constraints = [models.UniqueConstraint(fields=["group", "topic", "number"], name="eventbus_partition_unique")]

    def __str__(self) -> str:
        return f"{self.group} {self.topic}[{self.number}]"
