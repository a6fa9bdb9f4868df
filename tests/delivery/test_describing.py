"""What is wired, as `eventbus_describe` shows it, and what is wrong with it, as the checks will say."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_eventbus.delivery import inspection
from django_eventbus.delivery.inspection import find_problems
from django_eventbus.delivery.registry import handler, handlers
from django_eventbus.delivery.retry import RetryPolicy
from django_eventbus.delivery.stateful import stateful_handler
from django_eventbus.events.inspection import Problem
from tests.shop.apps import ShopConfig
from tests.shop.models import Tally

from .shop import DayEnded, OrderPaid, OrderPlaced, config


def bill(event: Any) -> None: ...


def ship(event: Any) -> None: ...


def count(event: Any, tally: Any) -> None: ...


def thank(events: Any) -> None: ...


async def greet(event: Any) -> None: ...


def shown(*arguments: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("eventbus_describe", *arguments, stdout=out, **options)
    return out.getvalue()


@pytest.fixture
def wired() -> None:
    own = RetryPolicy(max_attempts=3, delays=(2,), never=(KeyError,))
    handler(OrderPlaced, name="shop.bill", aliases=("shop.invoice",), retry=own, on_dead_letter="hold_key")(bill)
    handler(OrderPlaced, OrderPaid, name="shop.ship", versions=(1,), ordered=False)(ship)
    handler(DayEnded, name="shop.thank", batch=500, timeout=3, dedupe_key=lambda event: event.day)(thank)


@pytest.mark.usefixtures("wired")
def test_everything_is_listed_as_it_really_is() -> None:
    text = shown()

    assert "desk.orders.order-placed v1 on dev.shop.public.orders.v1 [default] -> shop.bill, shop.ship" in text
    assert "accounting.day-ended v1 (external) on dev.accounting.public.day.v1 [default] -> shop.thank" in text
    assert "shop.bill takes desk.orders.order-placed 1" in text


@pytest.mark.usefixtures("wired")
@pytest.mark.parametrize("name", ["shop.bill", "shop.invoice", "bill"])
def test_one_handler_is_explained(name: str) -> None:
    text = shown(name)

    assert "3 attempts, after 2, 2 s, never for KeyError (its own policy)" in text
    assert "its key waits for a verdict" in text
    assert "former names: shop.invoice" in text
    assert "shop.ship" not in text


@pytest.mark.usefixtures("wired")
def test_a_batch_handler_says_how_it_runs() -> None:
    text = shown("shop.thank")

    assert "batches of 500, in a transaction on 'default', at most 3 s" in text
    assert "found by dedupe_key" in text
    assert "5 attempts, after 1, 5, 30, 300 s (RETRY of the bus)" in text


def test_a_handler_that_runs_elsewhere_or_with_a_row_says_so() -> None:
    handler(OrderPlaced, name="shop.bill", handle_in="celery")(bill)
    stateful_handler(OrderPlaced, name="shop.count", key="order_id", state=Tally)(count)
    handler(OrderPlaced, name="shop.greet")(greet)

    assert "runs: async, in a transaction" in shown("shop.greet")
    assert "runs: as a task in Celery, in a transaction on 'default', at most 300 s" in shown("shop.bill")
    assert "order: none" in shown("shop.bill")
    assert "state: tests.shop.models.Tally by order_id, one writer per key" in shown("shop.count")


@pytest.mark.usefixtures("wired")
def test_one_event_is_explained_by_name_or_class() -> None:
    assert shown("desk.orders.order-paid") == shown("OrderPaid")
    assert "key: order_id" in shown("OrderPaid")


@pytest.mark.usefixtures("wired")
def test_json_is_one_object_with_everything() -> None:
    everything = json.loads(shown(json=True))
    (placed,) = (e for e in everything["events"] if e["declared_as"] == f"{OrderPlaced.__module__}.OrderPlaced")

    assert placed["topic"] == "dev.shop.public.orders.v1"
    assert placed["handlers"] == ["shop.bill", "shop.ship"]
    (explained,) = json.loads(shown("shop.ship", json=True))["handlers"]
    assert (explained["ordered"], explained["versions"], explained["batch"]) == (False, ["1"], None)


@pytest.mark.usefixtures("wired")
def test_an_unknown_name_is_wrong_usage_with_the_likely_one() -> None:
    with pytest.raises(CommandError, match=r"Did you mean 'shop\.bill'") as caught:
        shown("shop.bil")
    assert caught.value.returncode == 2

    with pytest.raises(CommandError, match="'nope'") as caught:
        shown(bus="nope")
    assert caught.value.returncode == 2


def found(**settings: Any) -> list[Problem]:
    return find_problems(handlers.all(), [config(**settings)])


@pytest.mark.usefixtures("wired")
def test_a_sound_declaration_has_no_problem() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("options", "number", "words"),
    [
        ({"using": "nowhere"}, "E060", "nowhere"),
        ({"versions": (1, 7)}, "E061", "'7'"),
        ({"name": "Odd"}, "W060", "Odd"),
        ({"timeout": timedelta(hours=1)}, "W061", "GRACE"),
    ],
)
def test_a_wrong_declaration_is_found(options: dict[str, Any], number: str, words: str) -> None:
    handler(OrderPlaced, **{"name": "shop.bill", **options})(bill)

    (problem,) = found()

    assert problem.id == number
    assert words in problem.message
    assert problem.hint


def test_a_task_may_take_longer_than_a_successor_waits() -> None:
    handler(OrderPlaced, name="shop.bill", handle_in="celery", timeout=timedelta(hours=1))(bill)

    assert found() == []


def test_a_handler_in_celery_without_celery_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    handler(OrderPlaced, name="shop.bill", handle_in="celery")(bill)
    monkeypatch.setattr(inspection, "find_spec", lambda name: None)

    assert [(problem.id, problem.hint) for problem in found()] == [("E068", "pip install django-eventbus[celery]")]


@pytest.mark.parametrize(
    ("attribute", "value", "number"),
    [
        ("eventbus_group", 5, "E062"),
        ("eventbus_retired_handlers", "shop.gone", "E063"),
        ("eventbus_retired_handlers", ("shop.bill",), "E064"),
    ],
)
def test_a_wrong_app_config_is_found(
    attribute: str, value: object, number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bill, "__module__", "tests.shop.handlers")
    handler(OrderPlaced, name="shop.bill")(bill)
    monkeypatch.setattr(ShopConfig, attribute, value, raising=False)

    assert [problem.id for problem in found()] == [number]


@pytest.mark.usefixtures("wired")
def test_an_inbox_that_forgets_before_the_broker_is_found() -> None:
    (problem,) = found(TRANSPORT="kafka", INBOX={"RETENTION": timedelta(days=1)}, OPTIONS={"bootstrap.servers": "x:1"})

    assert problem.id == "W062"
