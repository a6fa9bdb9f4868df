"""What a customer has ordered."""

from uuid import uuid4

from django.db import models


class Order(models.Model):
    """Be one order; its events are keyed by `id`."""

    id = models.UUIDField(primary_key=True, default=uuid4)
    tenant_id = models.UUIDField()
    customer = models.CharField(max_length=100)
    country = models.CharField(max_length=30)
    total = models.DecimalField(max_digits=10, decimal_places=2)
    placed_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.customer}: {self.total}"
