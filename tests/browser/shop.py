"""A shop that cannot invoice orders from a country whose tax rate nobody has entered."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from django.db import transaction

from django_eventbus import RetryPolicy, event, handler, publish, recurring
from tests.shop.models import Invoice

ONE_ATTEMPT = RetryPolicy(max_attempts=1)
tax_rates: dict[str, int] = {}


class TaxRateMissing(LookupError):
    __module__ = "billing.taxes"  # what operators see and filter by


@event("shop.orders.order-placed", entity="order", key="order_id")
class OrderPlaced:
    order_id: UUID
    customer: str
    country: str
    total: Decimal


def open_shop() -> None:
    """Declare the handlers; a test forgets them at its end."""
    tax_rates.clear()
    tax_rates["Austria"] = 20

    @handler(OrderPlaced, name="billing.issue_invoice", retry=ONE_ATTEMPT)
    def issue_invoice(placed: OrderPlaced) -> None:
        Invoice.objects.create(order_id=placed.order_id, total=placed.total * (100 + tax_rate(placed.country)) / 100)

    @handler(OrderPlaced, name="shipping.pack_parcel")
    def pack_parcel(placed: OrderPlaced) -> None:
        pass


def open_office() -> None:
    """Declare what recurs; a test forgets it at its end."""

    @recurring("0 6 * * *", timezone="Europe/Berlin", name="reports.end_day")
    def end_day(at: datetime) -> OrderPlaced:
        return OrderPlaced(order_id=uuid4(), customer=f"the office, {at:%d %B}", country="Austria", total=Decimal(0))

    @recurring(every=timedelta(minutes=5), name="stock.check", missed="skip")
    def check() -> None:
        pass

    @recurring("0 9 * * MON-FRI", timezone="Europe/Berlin", name="billing.remind_debtors", missed="all")
    def remind_debtors() -> None:
        pass


def tax_rate(country: str) -> int:
    try:
        return tax_rates[country]
    except KeyError:
        raise TaxRateMissing(f"nobody has entered a tax rate for {country}") from None


def place_order(country: str, *, customer: str = "Ada Lovelace", total: str = "80.00") -> UUID:
    order_id = uuid4()
    with transaction.atomic():
        publish(OrderPlaced(order_id=order_id, customer=customer, country=country, total=Decimal(total)))
    return order_id
