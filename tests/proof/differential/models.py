from __future__ import annotations

from django.db import models


class Effect(models.Model):
    handler = models.TextField()
    number = models.IntegerField()

    objects: models.Manager[Effect] = models.Manager()

    class Meta:
        db_table = "differential_effect"
