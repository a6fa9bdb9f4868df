"""Commands for orders over HTTP."""

from decimal import Decimal
from uuid import UUID

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from shop.commands import answers_errors, body_of

from .services import place_order


@csrf_exempt
@require_POST
@answers_errors
def order_list(request: HttpRequest) -> JsonResponse:
    """Place the order in the JSON body: tenant_id, customer, country, total."""
    body = body_of(request)
    order = place_order(
        tenant_id=UUID(body["tenant_id"]),
        customer=body["customer"],
        country=body["country"],
        total=Decimal(body["total"]),
    )
    return JsonResponse({"id": str(order.id)}, status=201)
