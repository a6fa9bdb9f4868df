"""Commands for invoices over HTTP."""

from uuid import UUID

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from shop.commands import answers_errors, body_of

from .services import cancel_invoice, pay_invoice


@csrf_exempt
@require_POST
@answers_errors
def pay(request: HttpRequest, order_id: UUID) -> JsonResponse:
    """Take the money for an order at the till in the JSON body: cashier_id."""
    is_paid_now = pay_invoice(order_id=order_id, cashier_id=UUID(body_of(request)["cashier_id"]))
    return JsonResponse({}, status=200 if is_paid_now else 409)


@csrf_exempt
@require_POST
@answers_errors
def cancel(request: HttpRequest, order_id: UUID) -> JsonResponse:
    """Cancel the invoice of an order."""
    return JsonResponse({}, status=200 if cancel_invoice(order_id=order_id) else 409)
