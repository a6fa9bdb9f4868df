"""How does a view take a command? As JSON, with an answer that says what is wrong with it."""

import json
from collections.abc import Callable
from decimal import InvalidOperation
from functools import wraps
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse

# int(None), UUID(5) and Decimal("ten") each have their own way to say no.
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, InvalidOperation, ValidationError)


def body_of(request: HttpRequest) -> dict[str, Any]:
    """Read the JSON object in the body."""
    return dict(json.loads(request.body))


def answers_errors(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Answer 400 where the command cannot be read, 404 where what it is about is not there."""

    @wraps(view)
    def answering(request: HttpRequest, **arguments: Any) -> HttpResponse:
        try:
            return view(request, **arguments)
        except ObjectDoesNotExist as error:
            return JsonResponse({"error": str(error)}, status=404)
        except UNREADABLE as error:
            return JsonResponse({"error": f"{type(error).__name__}: {error}"}, status=400)

    return answering
