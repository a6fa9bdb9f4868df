"""What leaves the warehouse."""

from django.db import models


class Parcel(models.Model):
    """Be the parcel of one order."""

    class State(models.TextChoices):
        """Say where it is."""

        RESERVED = "reserved", "reserved"
        SHIPPED = "shipped", "shipped"
        RELEASED = "released", "put back"

    order_id = models.UUIDField(primary_key=True)
    recipient = models.CharField(max_length=100)
    country = models.CharField(max_length=30)
    state = models.CharField(max_length=10, choices=State, default=State.RESERVED)

    def __str__(self) -> str:
        return f"{self.recipient}: {self.get_state_display()}"
