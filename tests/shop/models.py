"""The tables of a small shop whose orders and invoices the suite changes, publishes and handles."""

from __future__ import annotations

import uuid

from django.db import models

from django_eventbus import RecordsEvents, SagaModel


class Order(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant_id = models.UUIDField(default=uuid.uuid4)
    state = models.CharField(max_length=20, default="placed")
    total = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"Order {self.pk}"


class Invoice(models.Model):
    order_id = models.UUIDField()  # no foreign key: the order may live in another service
    total = models.DecimalField(max_digits=12, decimal_places=2, default=0)

    def __str__(self) -> str:
        return f"Invoice of order {self.order_id}"


class Effect(models.Model):
    """What a handler did, one row each time it ran: repeated or reordered work shows here."""

    handler = models.CharField(max_length=200)
    key = models.CharField(max_length=200, default="")
    number = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.handler} {self.key} {self.number}"


class Tally(models.Model):
    """What a stateful handler has counted for a key."""

    key = models.CharField(max_length=200, primary_key=True)
    count = models.IntegerField(default=0)
    numbers = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"{self.key} {self.count}"


class Basket(RecordsEvents):
    """What records events, and publishes them when it is saved."""

    customer = models.CharField(max_length=200, default="")
    count = models.IntegerField(default=0)

    def __str__(self) -> str:
        return f"Basket of {self.customer}"


class Parcel(SagaModel):
    """The state of a saga that is a model of the project."""

    weight = models.IntegerField(default=0)
    note = models.CharField(max_length=200, default="")

    def __str__(self) -> str:
        return f"Parcel of {self.saga_key}"
