"""Who takes money."""

from uuid import uuid4

from django.db import models


class Cashier(models.Model):
    """Be one cashier of one tenant."""

    id = models.UUIDField(primary_key=True, default=uuid4)
    tenant_id = models.UUIDField()
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name
