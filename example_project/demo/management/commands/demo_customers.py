"""Pay what is open, again and again, as customers do; all but one."""

import time
from typing import NoReturn

from billing.models import Invoice, Till
from billing.services import pay_invoice
from django.core.management.base import BaseCommand
from orders.models import Order

from demo.accounts import FORGETFUL


class Command(BaseCommand):
    """Be the customers until the process is stopped."""

    help = "Pay invoices until stopped (used by demo)."

    def handle(self, **options: object) -> NoReturn:
        while True:
            forgotten = list(Order.objects.filter(customer=FORGETFUL).values_list("id", flat=True))
            for till in Till.objects.all():
                open_here = Invoice.objects.filter(tenant_id=till.tenant_id, state=Invoice.State.OPEN)
                for order_id in open_here.exclude(order_id__in=forgotten).values_list("order_id", flat=True):
                    pay_invoice(order_id=order_id, cashier_id=till.cashier_id)
            time.sleep(0.1)
