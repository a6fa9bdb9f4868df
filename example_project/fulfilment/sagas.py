"""How an order is fulfilled: reserve, have it paid, ship; and undo what was done where that fails."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from billing.events import InvoiceCancelled, InvoiceIssued, InvoicePaid
from django.conf import settings
from orders.events import OrderPlaced
from shipping.events import ParcelReserved, ParcelShipped, ShippingRefused

from django_eventbus import Saga, on, on_timeout, starts

from .events import (
    CancellationRequested,
    InvoiceRequested,
    ReleaseRequested,
    ReminderRequested,
    ReservationRequested,
    ShippingRequested,
)

REMINDERS = 1  # then the order is given up


@dataclass
class Fulfilment:
    """Be what the saga remembers of one order between two events."""

    order_id: UUID
    tenant_id: UUID
    country: str
    total: Decimal
    reminders: int = 0


class OrderFulfilment(Saga[Fulfilment], correlate="order_id"):
    """Lead one order through the other apps; each method is one step, in one transaction."""

    @starts(OrderPlaced)
    def reserve(self, event: OrderPlaced) -> ReservationRequested:
        self.state = Fulfilment(
            order_id=event.order_id, tenant_id=event.tenant_id, country=event.country, total=event.total
        )
        return ReservationRequested(order_id=event.order_id, recipient=event.customer, country=event.country)

    @on(ParcelReserved)
    def bill(self, event: ParcelReserved) -> InvoiceRequested:
        self.add_compensation(ReleaseRequested(order_id=event.order_id))
        return InvoiceRequested(
            order_id=event.order_id,
            tenant_id=self.state.tenant_id,
            country=self.state.country,
            total=self.state.total,
        )

    @on(InvoiceIssued)
    def await_payment(self, event: InvoiceIssued) -> None:
        self.add_compensation(CancellationRequested(order_id=event.order_id))
        self.schedule_timeout("payment", settings.PAYMENT_TIMEOUT)

    @on_timeout("payment")
    def remind(self) -> ReminderRequested | None:
        if self.state.reminders == REMINDERS:
            self.compensate()
            return None
        self.state.reminders += 1
        self.schedule_timeout("payment", settings.PAYMENT_TIMEOUT)
        return ReminderRequested(order_id=self.state.order_id)

    @on(InvoicePaid)
    def ship(self, event: InvoicePaid) -> ShippingRequested:
        self.cancel_timeout("payment")
        return ShippingRequested(order_id=event.order_id)

    @on(ParcelShipped)
    def finish(self, event: ParcelShipped) -> None:
        self.complete()

    @on(ShippingRefused, InvoiceCancelled)
    def undo(self, event: ShippingRefused | InvoiceCancelled) -> None:
        self.compensate()
