"""What is written down in the transactions under test: what was published, and what handlers did."""

from __future__ import annotations

from django.db import models


class Published(models.Model):
    event_id = models.TextField(unique=True)
    event = models.TextField()
    key = models.TextField()
    number = models.IntegerField()

    objects: models.Manager[Published] = models.Manager()

    class Meta:
        db_table = "sweep_published"


class Effect(models.Model):
    handler = models.TextField()
    event = models.TextField()
    event_id = models.TextField()
    key = models.TextField()
    number = models.IntegerField()

    objects: models.Manager[Effect] = models.Manager()

    class Meta:
        db_table = "sweep_effect"


class Tally(models.Model):
    key = models.TextField(unique=True)
    count = models.IntegerField(default=0)

    objects: models.Manager[Tally] = models.Manager()

    class Meta:
        db_table = "sweep_tally"
