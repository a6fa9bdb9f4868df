"""What billing does when others tell it something; what a handler returns is published in its transaction."""

from decimal import Decimal

from cashiers.events import CashierCreated, CashierDeleted, CashierRenamed
from django.db.models import F
from fulfilment.events import CancellationRequested, InvoiceRequested, ReminderRequested

from django_eventbus import RetryPolicy, handler

from .events import InvoiceIssued
from .models import Invoice, TaxRate, Till
from .services import cancel_invoice


@handler(CashierCreated, CashierRenamed)
def keep_till(event: CashierCreated | CashierRenamed) -> None:
    """Copy what billing needs to know of a cashier."""
    Till.objects.update_or_create(
        cashier_id=event.cashier_id, defaults={"tenant_id": event.tenant_id, "name": event.name}
    )


@handler(CashierDeleted)
def close_till(event: CashierDeleted) -> None:
    """Forget a cashier."""
    Till.objects.filter(cashier_id=event.cashier_id).delete()


@handler(InvoiceRequested, retry=RetryPolicy(max_attempts=3, delays=(0.2, 0.5)))
def issue_invoice(event: InvoiceRequested) -> InvoiceIssued:
    """Invoice an order."""
    rate = TaxRate.objects.get(country=event.country)
    gross = (event.total * (100 + rate.percent) / 100).quantize(Decimal("0.01"))
    Invoice.objects.create(order_id=event.order_id, tenant_id=event.tenant_id, gross=gross)
    return InvoiceIssued(tenant_id=event.tenant_id, order_id=event.order_id, gross=gross)


@handler(ReminderRequested)
def remind(event: ReminderRequested) -> None:
    """Remind a customer; here the letter is a number."""
    Invoice.objects.filter(order_id=event.order_id).update(reminders=F("reminders") + 1)


@handler(CancellationRequested)
def cancel(event: CancellationRequested) -> None:
    """Cancel an invoice, which tells others; nothing happens where an operator has done so."""
    cancel_invoice(order_id=event.order_id)
