"""What the cashiers app tells others: one topic for all that happens to cashiers, in order for each tenant."""

from uuid import UUID

from django_eventbus import event


@event("shop.cashiers.cashier-created", entity="cashier", key="tenant_id")
class CashierCreated:
    """A cashier has begun to work for a tenant."""

    tenant_id: UUID
    cashier_id: UUID
    name: str


@event("shop.cashiers.cashier-renamed", entity="cashier", key="tenant_id")
class CashierRenamed:
    """A cashier has a new name."""

    tenant_id: UUID
    cashier_id: UUID
    name: str


@event("shop.cashiers.cashier-deleted", entity="cashier", key="tenant_id")
class CashierDeleted:
    """A cashier has left."""

    tenant_id: UUID
    cashier_id: UUID
