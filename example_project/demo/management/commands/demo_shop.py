"""Place orders through the shop's own service and show how they travel, until all has settled."""

import json
import time
from argparse import ArgumentParser
from collections import Counter
from decimal import Decimal
from uuid import UUID

from billing.models import Invoice, TaxRate
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from orders.events import OrderPlaced
from orders.models import Order
from orders.services import place_order, placed
from shipping.models import Parcel

from django_eventbus import publish
from django_eventbus.events.envelope import Envelope
from django_eventbus.models import DeadLetter, OutboxMessage, RetryMessage
from django_eventbus.signals import event_published

COUNTRIES = {"Austria": "20", "Belgium": "21", "Chile": "19", "Denmark": "25"}
WITHOUT_TAX_RATE = "Atlantis"
REPEATED = 10  # orders whose event is published once more, with the id that it had
PATIENCE = 60  # seconds until all must have settled


class Command(BaseCommand):
    """Place orders, one of which cannot be invoiced, and wait."""

    help = "Place orders and wait until every event is handled or dead (used by demo)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--orders", type=int, default=300)

    def handle(self, *, orders: int, **options: object) -> None:
        self.published: Counter[str] = Counter()
        self.ids: dict[UUID, UUID] = {}
        event_published.connect(self.count)
        for country, percent in COUNTRIES.items():
            TaxRate.objects.get_or_create(country=country, defaults={"percent": Decimal(percent)})
        self.place(orders)
        self.settle(orders)
        self.stdout.write(json.dumps({"orders": orders, "repeated": REPEATED, **self.totals()}))

    def count(self, *, event: object, envelope: Envelope, **details: object) -> None:
        self.published[type(event).__name__] += 1
        if isinstance(event, OrderPlaced):
            self.ids[event.order_id] = UUID(envelope.message_id)

    def place(self, orders: int) -> None:
        countries = list(COUNTRIES)
        first: list[Order] = []
        for number in range(orders):
            country = WITHOUT_TAX_RATE if number == orders // 2 else countries[number % len(countries)]
            order = place_order(customer=f"customer {number}", country=country, total=Decimal(number + 1))
            if len(first) < REPEATED:
                first.append(order)
            if number == orders // 3:
                self.repeat(first)
            if number % 50 == 49:
                self.progress(number + 1)

    def repeat(self, orders: list[Order]) -> None:
        """Publish known events again, as a relay would that was killed between sending and deleting."""
        for order in orders:
            with transaction.atomic():
                publish(placed(order), event_id=self.ids[order.id])

    def settle(self, orders: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.is_settled(orders):
            if time.monotonic() > deadline:
                raise CommandError(f"not settled after {PATIENCE} s: {self.totals()}")
            time.sleep(0.5)
            self.progress(orders)

    def is_settled(self, orders: int) -> bool:
        done = Invoice.objects.count() + DeadLetter.objects.count() == orders
        packed = Parcel.objects.exclude(recipient="").count() == orders
        released = Parcel.objects.filter(is_released=True).count() == Invoice.objects.count()
        waiting = OutboxMessage.objects.exists() or RetryMessage.objects.exists()
        return done and packed and released and not waiting

    def totals(self) -> dict[str, object]:
        letters = DeadLetter.objects.values_list("id", "handler", "exception_type", "exception_message", "attempts")
        return {
            "published": sum(self.published.values()) + Invoice.objects.count(),
            "invoices": Invoice.objects.count(),
            "parcels_released": Parcel.objects.filter(is_released=True).count(),
            "dead_letters": [
                dict(zip(("id", "handler", "exception", "message", "attempts"), row, strict=True)) for row in letters
            ],
        }

    def progress(self, placed_so_far: int) -> None:
        self.stdout.write(
            f"orders {placed_so_far}  waiting in outbox {OutboxMessage.objects.count()}  "
            f"invoices {Invoice.objects.count()}  parcels released {Parcel.objects.filter(is_released=True).count()}  "
            f"waiting for a retry {RetryMessage.objects.count()}  dead letters {DeadLetter.objects.count()}"
        )
        self.stdout.flush()
