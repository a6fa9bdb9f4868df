"""What requests and handlers write."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """Be what a request changes."""

    reference = models.CharField(max_length=40)
    total = models.DecimalField(max_digits=12, decimal_places=2)
    state = models.CharField(max_length=20, default="new")

    def __str__(self) -> str:
        return self.reference


class Effect(models.Model):
    """Be what a handler wrote for one event. The table has a column that Django does not know: `at`, by its clock."""

    number = models.BigIntegerField()
    order = models.TextField()
    note = models.TextField()

    def __str__(self) -> str:
        return str(self.number)
