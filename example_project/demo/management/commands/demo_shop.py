"""Place orders through the shop's own service and show how they travel, until all has settled."""

import json
import time
from argparse import ArgumentParser
from collections.abc import Callable
from decimal import Decimal
from uuid import UUID

from billing.models import TaxRate
from cashiers.services import create_cashier
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from orders.events import OrderPlaced
from orders.models import Order
from orders.services import place_order, placed

from demo import accounts
from django_eventbus import publish
from django_eventbus.events.envelope import Envelope
from django_eventbus.models import OutboxMessage, RetryMessage
from django_eventbus.signals import event_published

COUNTRIES = {"Austria": "20", "Belgium": "21", "Chile": "19", "Denmark": "25"}
TENANTS = [UUID(int=number) for number in range(1, 5)]
INVOICING = "billing.issue_invoice"
REPEATED = 10  # orders whose event is published once more, with the id that it had
MOST_OPEN = 40  # orders at a time: who comes then has to wait
PATIENCE = 90  # seconds until all must have settled


class Command(BaseCommand):
    """Place orders, one of which is never paid and one of which cannot be invoiced, and wait."""

    help = "Place orders and wait until each has ended, or waits for a dead letter (used by demo)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--orders", type=int, default=150)
        parser.add_argument("--mend", action="store_true", help="then mend the cause of the dead letter, and replay it")

    def handle(self, *, orders: int, mend: bool, **options: object) -> None:
        self.deadline, self.next_line = time.monotonic() + PATIENCE, time.monotonic()
        self.open_shop()
        self.place(orders)
        self.wait_until(accounts.is_settled)
        if mend:
            self.mend()
            self.wait_until(accounts.is_settled)
        self.stdout.write(json.dumps(accounts.totals()))

    def open_shop(self) -> None:
        for country, percent in COUNTRIES.items():
            TaxRate.objects.create(country=country, percent=Decimal(percent))
        for number, tenant in enumerate(TENANTS):
            create_cashier(tenant_id=tenant, name=f"cashier {number}")

    def place(self, orders: int) -> None:
        self.ids: dict[UUID, UUID] = {}
        event_published.connect(self.remember)
        for number in range(orders):
            self.wait_until(lambda: accounts.open_orders() < MOST_OPEN)
            customer = accounts.FORGETFUL if number == 0 else f"customer {number}"
            country = accounts.ATLANTIS if number == orders // 2 else list(COUNTRIES)[number % len(COUNTRIES)]
            tenant = TENANTS[number % len(TENANTS)]
            place_order(tenant_id=tenant, customer=customer, country=country, total=Decimal(number + 1))
            if number == orders // 3:
                self.repeat(list(Order.objects.order_by("placed_at")[:REPEATED]))
            self.progress()

    def remember(self, *, event: object, envelope: Envelope, **details: object) -> None:
        if isinstance(event, OrderPlaced):
            self.ids[event.order_id] = UUID(envelope.message_id)

    def repeat(self, orders: list[Order]) -> None:
        """Publish known events again, as a relay would that was killed between sending and deleting."""
        for order in orders:
            with transaction.atomic():
                publish(placed(order), event_id=self.ids[order.id])

    def mend(self) -> None:
        """Do what an operator does: remove the cause, then have the dead letter handled again."""
        for letter in accounts.dead_letters():
            self.stdout.write(f"dead letter: {accounts.cause(letter)}")
        self.stdout.write(f"the fix: a tax rate for {accounts.ATLANTIS}, and then")
        TaxRate.objects.create(country=accounts.ATLANTIS, percent=Decimal(10))
        self.stdout.write(f"manage.py replay_dead_letters --handler {INVOICING}: ", ending="")
        call_command("replay_dead_letters", "--handler", INVOICING, "--reason", "tax rate added", stdout=self.stdout)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if time.monotonic() > self.deadline:
                raise CommandError(f"not settled after {PATIENCE} s: {accounts.totals()}")
            time.sleep(0.1)
            self.progress()

    def progress(self) -> None:
        """Show where the orders are, once a second."""
        if time.monotonic() < self.next_line:
            return
        self.next_line = time.monotonic() + 1
        self.stdout.write(
            f"orders {Order.objects.count()}  waiting in outbox {OutboxMessage.objects.count()}  "
            f"sagas running {accounts.sagas('running')}, completed {accounts.sagas('completed')}, "
            f"compensated {accounts.sagas('compensated')}  waiting for a retry {RetryMessage.objects.count()}  "
            f"dead letters {len(accounts.dead_letters())}"
        )
        self.stdout.flush()
