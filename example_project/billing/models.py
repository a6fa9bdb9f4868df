"""What customers owe, and the tax that it takes to say so."""

from django.db import models


class TaxRate(models.Model):
    """Be the tax of one country; an order from a country without one cannot be invoiced."""

    country = models.CharField(max_length=30, primary_key=True)
    percent = models.DecimalField(max_digits=5, decimal_places=2)

    def __str__(self) -> str:
        return f"{self.country}: {self.percent} %"


class Invoice(models.Model):
    """Be the invoice of one order."""

    order_id = models.UUIDField(unique=True)
    gross = models.DecimalField(max_digits=10, decimal_places=2)

    def __str__(self) -> str:
        return f"{self.order_id}: {self.gross}"
