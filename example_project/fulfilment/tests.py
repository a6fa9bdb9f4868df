"""What the fulfilment of an order decides, and what becomes of one among all apps: `manage.py test`."""

from datetime import timedelta
from decimal import Decimal
from unittest import TestCase as StoryCase
from uuid import UUID

from billing.events import InvoiceCancelled, InvoiceIssued, InvoicePaid
from billing.models import Invoice, TaxRate, Till
from cashiers.services import create_cashier
from django.conf import settings
from django.http import HttpResponse
from django.test import TestCase
from orders.events import OrderPlaced
from shipping.events import ParcelReserved, ParcelShipped, ShippingRefused
from shipping.models import Parcel

from django_eventbus.models import SagaState
from django_eventbus.testing import SagaScenario, drain

from .events import CancellationRequested, ReleaseRequested, ReminderRequested, ShippingRequested
from .sagas import OrderFulfilment

ORDER, TENANT, CASHIER = UUID(int=1), UUID(int=2), UUID(int=3)
PLACED = OrderPlaced(order_id=ORDER, tenant_id=TENANT, customer="Ada", country="Austria", total=Decimal(10))
ISSUED = InvoiceIssued(tenant_id=TENANT, order_id=ORDER, gross=Decimal(12))
PAID = InvoicePaid(tenant_id=TENANT, order_id=ORDER, cashier_id=CASHIER)


class Decisions(StoryCase):
    """Tell stories: no database is needed for what the saga decides."""

    def setUp(self) -> None:
        self.story = SagaScenario(OrderFulfilment).given(PLACED, ParcelReserved(order_id=ORDER), ISSUED)

    def test_a_paid_order_is_shipped(self) -> None:
        self.story.when(PAID).expect_published(ShippingRequested(order_id=ORDER)).expect_timeouts()
        self.story.when(ParcelShipped(order_id=ORDER)).expect_status("completed")

    def test_who_does_not_pay_is_reminded(self) -> None:
        self.story.advance(settings.PAYMENT_TIMEOUT).expect_published(ReminderRequested(order_id=ORDER))
        self.story.expect_timeouts(payment=settings.PAYMENT_TIMEOUT).expect_status("running")

    def test_after_the_reminder_all_is_undone_the_latest_first(self) -> None:
        self.story.advance(2 * settings.PAYMENT_TIMEOUT)
        self.story.expect_published(ReminderRequested, CancellationRequested, ReleaseRequested)
        self.story.expect_status("compensated").expect_timeouts()

    def test_what_cannot_be_shipped_is_undone(self) -> None:
        self.story.given(PAID)
        self.story.when(ShippingRefused(order_id=ORDER, reason="no carrier"))
        self.story.expect_published(CancellationRequested, ReleaseRequested).expect_status("compensated")

    def test_a_cancelled_invoice_ends_the_order(self) -> None:
        self.story.when(InvoiceCancelled(tenant_id=TENANT, order_id=ORDER, refund=Decimal(0)))
        self.story.expect_published(CancellationRequested, ReleaseRequested).expect_status("compensated")


class TheWholeWay(TestCase):
    """Run all handlers and the saga, with outbox and inbox, on the test's own connection."""

    def setUp(self) -> None:
        TaxRate.objects.create(country="Austria", percent=20)
        TaxRate.objects.create(country="Erewhon", percent=0)
        self.cashier = create_cashier(tenant_id=TENANT, name="Grace")

    def command(self, path: str, **body: object) -> HttpResponse:
        response = self.client.post(path, body, content_type="application/json")
        drain(raise_errors=True)
        return response

    def placed(self, country: str = "Austria") -> UUID:
        response = self.command("/orders/", tenant_id=TENANT, customer="Ada", country=country, total=10)
        return UUID(response.json()["id"])

    def pay(self, order: UUID) -> int:
        return self.command(f"/invoices/{order}/pay/", cashier_id=self.cashier.id).status_code

    def outcome(self, order: UUID) -> tuple[str, str, str]:
        saga = SagaState.objects.get(key=str(order))
        return saga.status, Invoice.objects.get(order_id=order).state, Parcel.objects.get(order_id=order).state

    def test_a_paid_order_is_shipped(self) -> None:
        order = self.placed()

        assert self.pay(order) == 200
        assert self.pay(order) == 409

        assert self.outcome(order) == ("completed", "paid", "shipped")

    def test_an_order_that_nobody_pays_is_undone(self) -> None:
        order = self.placed()

        drain(advance=2 * settings.PAYMENT_TIMEOUT + timedelta(seconds=1), raise_errors=True)

        assert self.outcome(order) == ("compensated", "cancelled", "released")
        assert Invoice.objects.get(order_id=order).reminders == 1
        assert self.pay(order) == 409

    def test_what_no_carrier_takes_is_undone(self) -> None:
        order = self.placed("Erewhon")

        self.pay(order)

        assert self.outcome(order) == ("compensated", "cancelled", "released")

    def test_an_invoice_that_is_cancelled_ends_the_order(self) -> None:
        order = self.placed()

        self.command(f"/invoices/{order}/cancel/")

        assert self.outcome(order) == ("compensated", "cancelled", "released")

    def test_a_command_that_cannot_be_read_says_why(self) -> None:
        good = {"tenant_id": str(TENANT), "customer": "Ada", "country": "Austria", "total": 10}

        for wrong in ({"tenant_id": 5}, {"tenant_id": "x"}, {"customer": 7}, {"total": "nan"}, {"total": [1]}):
            response = self.command("/orders/", **good | wrong)
            assert (response.status_code, bool(response.json()["error"])) == (400, True)

        assert self.command("/orders/").status_code == 400
        assert self.pay(ORDER) == 404

    def test_a_till_is_known_until_its_cashier_leaves(self) -> None:
        response = self.client.patch(f"/cashiers/{self.cashier.id}/", '{"name": "Hopper"}')
        drain(raise_errors=True)
        assert (response.status_code, Till.objects.get().name) == (200, "Hopper")

        response = self.client.delete(f"/cashiers/{self.cashier.id}/")
        drain(raise_errors=True)
        assert (response.status_code, Till.objects.count()) == (200, 0)
