"""Commands for cashiers over HTTP."""

from uuid import UUID

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST
from shop.commands import answers_errors, body_of

from .services import create_cashier, delete_cashier, rename_cashier


@csrf_exempt
@require_POST
@answers_errors
def cashier_list(request: HttpRequest) -> JsonResponse:
    """Create the cashier in the JSON body: tenant_id, name."""
    body = body_of(request)
    cashier = create_cashier(tenant_id=UUID(body["tenant_id"]), name=body["name"])
    return JsonResponse({"id": str(cashier.id)}, status=201)


@csrf_exempt
@require_http_methods(["PATCH", "DELETE"])
@answers_errors
def cashier_detail(request: HttpRequest, cashier_id: UUID) -> JsonResponse:
    """Delete the cashier, or give it the name in the JSON body."""
    if request.method == "DELETE":
        delete_cashier(cashier_id=cashier_id)
    else:
        rename_cashier(cashier_id=cashier_id, name=body_of(request)["name"])
    return JsonResponse({})
