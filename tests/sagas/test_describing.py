"""What `eventbus_describe` says of a saga."""

from __future__ import annotations

import io
import json
from typing import Any

from django.core.management import call_command

from tests.sagas.basket import declare


def described(*arguments: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("eventbus_describe", *arguments, stdout=out, **options)
    return out.getvalue()


def test_a_saga_is_shown_with_its_routes_and_its_diagram() -> None:
    saga = declare()

    text = described("basket.BasketSaga")

    assert "function: tests.sagas.basket.declare.<locals>.BasketSaga" in text
    assert "basket.BasketSaga keeps tests.sagas.basket.Checkout (version 1), concurrency lock" in text
    assert "      basket.checkout.checkout-submitted 1: starts by place, key order_id, without instance retry\n" in text
    assert "      timeout placement: ask_again\n" in text
    assert [line.strip() for line in saga.diagram().splitlines()] == [
        line.strip() for line in text.partition("diagram:\n")[2].splitlines() if line.startswith("        ")
    ]


def test_json_has_the_sagas_and_the_list_names_each_once() -> None:
    declare()

    (saga,) = json.loads(described(json=True))["sagas"]

    assert (saga["name"], saga["timeouts"], saga["is_model"]) == (
        "basket.BasketSaga",
        {"placement": "ask_again"},
        False,
    )
    assert saga["diagram"].startswith("stateDiagram-v2")
    assert described().count("basket.BasketSaga keeps") == 1
    assert json.loads(described("basket.orders.order-completed", json=True))["sagas"] == []
