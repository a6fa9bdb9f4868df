"""What can be done with an invoice: each command is one transaction, with its event."""

from decimal import Decimal
from uuid import UUID

from django.db import transaction

from django_eventbus import publish

from .events import InvoiceCancelled, InvoicePaid
from .models import Invoice, Till


def pay_invoice(*, order_id: UUID, cashier_id: UUID) -> bool:
    """Take the money at a till of the same tenant; return whether the invoice was open."""
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update().get(order_id=order_id)
        till = Till.objects.get(cashier_id=cashier_id, tenant_id=invoice.tenant_id)
        if invoice.state != Invoice.State.OPEN:
            return False
        invoice.state, invoice.paid_to = Invoice.State.PAID, till.name
        invoice.save(update_fields=["state", "paid_to"])
        publish(InvoicePaid(tenant_id=invoice.tenant_id, order_id=order_id, cashier_id=cashier_id))
    return True


def cancel_invoice(*, order_id: UUID) -> bool:
    """Void the invoice and return what was paid; return whether it was still valid."""
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update().get(order_id=order_id)
        if invoice.state == Invoice.State.CANCELLED:
            return False
        refund = invoice.gross if invoice.state == Invoice.State.PAID else Decimal(0)
        invoice.state = Invoice.State.CANCELLED
        invoice.save(update_fields=["state"])
        publish(InvoiceCancelled(tenant_id=invoice.tenant_id, order_id=order_id, refund=refund))
    return True
