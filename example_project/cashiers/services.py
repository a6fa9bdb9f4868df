"""What can be done with cashiers: each command is one transaction, with its event."""

from uuid import UUID

from django.db import transaction

from django_eventbus import publish

from .events import CashierCreated, CashierDeleted, CashierRenamed
from .models import Cashier


def create_cashier(*, tenant_id: UUID, name: str) -> Cashier:
    """Store the cashier and tell of it."""
    with transaction.atomic():
        cashier = Cashier.objects.create(tenant_id=tenant_id, name=name)
        publish(CashierCreated(tenant_id=tenant_id, cashier_id=cashier.id, name=name))
    return cashier


def rename_cashier(*, cashier_id: UUID, name: str) -> None:
    """Change first, publish after: the row's lock puts the events of two renamings in the order of the renamings."""
    with transaction.atomic():
        cashier = Cashier.objects.select_for_update().get(id=cashier_id)
        cashier.name = name
        cashier.save(update_fields=["name"])
        publish(CashierRenamed(tenant_id=cashier.tenant_id, cashier_id=cashier.id, name=name))


def delete_cashier(*, cashier_id: UUID) -> None:
    """Delete the cashier and tell of it."""
    with transaction.atomic():
        cashier = Cashier.objects.select_for_update().get(id=cashier_id)
        publish(CashierDeleted(tenant_id=cashier.tenant_id, cashier_id=cashier.id))
        cashier.delete()
