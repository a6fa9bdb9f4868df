"""What billing does when others tell it something."""

from decimal import Decimal

from orders.events import OrderPlaced

from django_eventbus import RetryPolicy, handler

from .events import InvoiceIssued
from .models import Invoice, TaxRate


@handler(OrderPlaced, retry=RetryPolicy(max_attempts=3, delays=(0.2, 0.5)))
def issue_invoice(event: OrderPlaced) -> InvoiceIssued:
    """Invoice an order; the returned event is published in the same transaction."""
    rate = TaxRate.objects.get(country=event.country)
    gross = (event.total * (100 + rate.percent) / 100).quantize(Decimal("0.01"))
    Invoice.objects.create(order_id=event.order_id, gross=gross)
    return InvoiceIssued(order_id=event.order_id, gross=gross)
