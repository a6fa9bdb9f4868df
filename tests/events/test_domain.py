"""What does `@domain_event` promise, and what does it refuse?"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from django_eventbus.conf import load
from django_eventbus.events.contract import Dispatch, event
from django_eventbus.events.domain import domain_event
from django_eventbus.events.inspection import find_problems
from django_eventbus.events.naming import local_topic_of, topic_of
from django_eventbus.events.registry import events
from django_eventbus.exceptions import ContractError


def test_it_is_a_frozen_event_of_the_one_registry_that_runs_inline() -> None:
    @domain_event("shop.orders.order-placed", version=2, key="order_id")
    class OrderPlaced:
        order_id: int

    contract = events.contract_of(OrderPlaced)

    assert (contract.name, contract.version, contract.dispatch) == ("shop.orders.order-placed", "2", Dispatch.INLINE)
    assert contract.is_domain_event
    assert events.find("shop.orders.order-placed", "2") is contract
    with pytest.raises(dataclasses.FrozenInstanceError):
        OrderPlaced(order_id=1).order_id = 2  # type: ignore[misc]


def test_one_that_is_never_stored_needs_no_name() -> None:
    @domain_event()
    class OrderPlaced:
        order_id: int

    contract = events.contract_of(OrderPlaced)

    assert contract.name == "tests.events.order-placed"
    assert find_problems([contract], [load(None)["default"]]) == []


def test_it_has_no_topic_but_a_place_of_its_app_in_the_local_queue() -> None:
    @domain_event()
    class OrderPlaced:
        order_id: int

    contract = events.contract_of(OrderPlaced)

    with pytest.raises(ContractError, match="is a domain event: it stays inside the service and has no topic"):
        topic_of(contract, load(None)["default"])
    assert local_topic_of(contract) == "local"
    assert local_topic_of(dataclasses.replace(contract, cls=_in_the_shop())) == "local.shop"


def test_the_registry_tells_domain_events_from_others_in_one_question() -> None:
    @domain_event()
    class Inside:
        pass

    @event("shop.orders.outside", entity="order")
    class Outside:
        pass

    assert events.has_domain_event([Outside(), Inside()])
    assert not events.has_domain_event([Outside(), "no event"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dispatch": "later"}, "dispatch='later'; give one of 'inline', 'on_commit', 'queued'"),
        ({"dispatch": "queued"}, "is stored under its name"),
        ({"key": "tenant_id"}, "key names 'tenant_id', which is no field"),
        ({"version": "a b"}, "version='a b' is neither"),
        ({"translate": True}, "'translate' is no parameter of an event. Did you mean 'must_translate'?"),
        ({"entity": "order"}, "'entity' is no parameter of an event"),
    ],
)
def test_mistakes_are_told_at_the_declaration(options: dict[str, Any], message: str) -> None:
    class OrderPlaced:
        order_id: int

    with pytest.raises(ContractError, match=message):
        domain_event(**options)(OrderPlaced)


def test_parentheses_are_asked_for() -> None:
    with pytest.raises(ContractError, match=r"Write @domain_event\(\)"):

        @domain_event  # type: ignore[arg-type]
        class OrderPlaced:
            pass


def _in_the_shop() -> type[Any]:
    return type("OrderPlaced", (), {"__module__": "tests.shop.events"})
