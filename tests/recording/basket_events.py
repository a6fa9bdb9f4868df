"""What a basket records, for this service and for others."""

from __future__ import annotations

from django_eventbus import domain_event, event


@event("tests.baskets.item-added", topic="baskets", domain="tests", key="basket_id")
class ItemAdded:
    basket_id: int
    number: int


@domain_event("tests.baskets.basket-emptied")
class BasketEmptied:
    basket_id: int
