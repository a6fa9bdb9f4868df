"""The shop's one page: POST an order."""

import json
from decimal import Decimal, InvalidOperation

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from .services import place_order


@csrf_exempt
@require_POST
def order_list(request: HttpRequest) -> JsonResponse:
    """Place the order in the JSON body: customer, country, total."""
    try:
        body = json.loads(request.body)
        order = place_order(customer=body["customer"], country=body["country"], total=Decimal(body["total"]))
    except (ValueError, KeyError, TypeError, InvalidOperation) as error:
        return JsonResponse({"error": f"{type(error).__name__}: {error}"}, status=400)
    return JsonResponse({"id": str(order.id)}, status=201)
