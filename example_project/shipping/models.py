"""What leaves the warehouse."""

from django.db import models


class Parcel(models.Model):
    """Be the parcel of one order; it leaves once the order is invoiced."""

    order_id = models.UUIDField(unique=True)
    recipient = models.CharField(max_length=100, default="", blank=True)
    is_released = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.recipient}: {'released' if self.is_released else 'waiting'}"
