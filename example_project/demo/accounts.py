"""What must have been published and handled by now, and what became of the orders? Counted in the shop's own tables."""

from typing import Any

from billing.models import Invoice
from cashiers.models import Cashier
from django.db.models import Sum
from orders.models import Order
from shipping.models import Parcel

from django_eventbus.models import DeadLetter, InboxMessage, OutboxMessage, RetryMessage, SagaHistory, SagaState

FORGETFUL = "Fiona Forgetful"  # a customer who never pays
ATLANTIS = "Atlantis"  # a country without a tax rate
AFTER = {"dead": "with a dead letter to replay", "replayed": "after a dead letter was replayed"}
CAUSE = ("id", "handler", "exception_type", "exception_message", "attempts")


def published() -> int:
    """Count the events that these rows tell of; each event has one handler in this shop."""
    orders, parcels, invoices = Order.objects.count(), Parcel.objects.count(), Invoice.objects.count()
    reminded = Invoice.objects.aggregate(sum=Sum("reminders"))["sum"] or 0
    paid = Invoice.objects.exclude(paid_to="").count()
    cancelled = Invoice.objects.filter(state=Invoice.State.CANCELLED).count()
    undone = sagas("compensated")
    return sum(
        (
            Cashier.objects.count(),  # CashierCreated
            2 * orders,  # OrderPlaced, ReservationRequested
            2 * parcels,  # ParcelReserved, InvoiceRequested
            invoices + cancelled,  # InvoiceIssued, InvoiceCancelled
            reminded,  # ReminderRequested
            3 * paid,  # InvoicePaid, ShippingRequested, ParcelShipped or ShippingRefused
            2 * undone,  # CancellationRequested, ReleaseRequested
        )
    )


def sagas(status: str) -> int:
    """Count the orders whose fulfilment has this status."""
    return SagaState.objects.filter(status=status).count()


def open_orders() -> int:
    """Count the orders whose fulfilment has not ended."""
    return Order.objects.count() - sagas("completed") - sagas("compensated")


def timeouts() -> int:
    """Count the payments that were due and had not come."""
    return SagaHistory.objects.filter(method="remind").count()


def dead_letters() -> list[dict[str, Any]]:
    """Describe what needs somebody to mend its cause."""
    return list(DeadLetter.objects.filter(status="dead").values(*CAUSE))


def cause(letter: dict[str, Any]) -> str:
    """Say in one line who gave up, and why."""
    why = f"{letter['exception_type']}: {letter['exception_message']}"
    return f"{letter['handler']}: {why} ({letter['attempts']} attempts)"


def is_settled() -> bool:
    """Say whether every order has ended or waits for somebody who mends the cause of a dead letter."""
    all_started = SagaState.objects.count() == Order.objects.count()
    waiting = OutboxMessage.objects.exists() or RetryMessage.objects.exists()
    none_moves = sagas("running") == len(dead_letters())
    return all_started and none_moves and not waiting and InboxMessage.objects.count() >= published() + timeouts()


def totals() -> dict[str, Any]:
    """Sum up for the table of the demo."""
    return {
        "orders": Order.objects.count(),
        "published": published(),
        "timeouts": timeouts(),
        "completed": sagas("completed"),
        "compensated": sagas("compensated"),
        "dead_letters": dead_letters(),
        "stories": [story(order) for order in (first_that_ended(), *unusual())],
    }


def unusual() -> tuple[Order, Order]:
    """Return the order that nobody pays, and the one that could not be invoiced."""
    return Order.objects.get(customer=FORGETFUL), Order.objects.get(country=ATLANTIS)


def first_that_ended() -> Order:
    """Return an order without a story."""
    return Order.objects.get(id=SagaState.objects.filter(status="completed").order_by("ended_at")[0].key)


def story(order: Order) -> dict[str, Any]:
    """Tell which messages moved the saga of an order, and where it is."""
    saga = SagaState.objects.get(key=str(order.id))
    letters = DeadLetter.objects.filter(key=str(order.id).encode()).values_list("status", flat=True)
    steps = SagaHistory.objects.filter(instance_id=saga.id).order_by("version").values_list("message", flat=True)
    return {
        "order": f"{order.customer}, {order.country}",
        "fate": ", ".join((saga.status, *(AFTER[status] for status in letters))),
        "steps": [step.rpartition(".")[2] for step in steps],
    }
