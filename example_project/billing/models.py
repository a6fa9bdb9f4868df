"""What customers owe, the tax that it takes to say so, and who may take the money."""

from django.db import models


class TaxRate(models.Model):
    """Be the tax of one country; an order from a country without one cannot be invoiced."""

    country = models.CharField(max_length=30, primary_key=True)
    percent = models.DecimalField(max_digits=5, decimal_places=2)

    def __str__(self) -> str:
        return f"{self.country}: {self.percent} %"


class Till(models.Model):
    """Be what billing knows of a cashier: a copy that the events of the cashiers app keep up to date."""

    cashier_id = models.UUIDField(primary_key=True)
    tenant_id = models.UUIDField()
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Invoice(models.Model):
    """Be the invoice of one order."""

    class State(models.TextChoices):
        """Say what became of it."""

        OPEN = "open", "open"
        PAID = "paid", "paid"
        CANCELLED = "cancelled", "cancelled"

    order_id = models.UUIDField(primary_key=True)
    tenant_id = models.UUIDField()
    gross = models.DecimalField(max_digits=10, decimal_places=2)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    paid_to = models.CharField(max_length=100, blank=True)
    reminders = models.IntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.order_id}: {self.gross}"
