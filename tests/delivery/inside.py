"""Domain events of a shop in each way of dispatch, and the event that other services get to see."""

from __future__ import annotations

from django_eventbus.events.contract import event
from django_eventbus.events.domain import domain_event
from tests.shop.models import Effect


@domain_event("desk.carts.item-added", key="cart_id")
class ItemAdded:
    cart_id: int
    number: int = 0


@domain_event("desk.carts.cart-viewed", dispatch="on_commit", key="cart_id")
class CartViewed:
    cart_id: int
    number: int = 0


@domain_event("desk.carts.cart-filled", dispatch="queued", key="cart_id")
class CartFilled:
    cart_id: int
    number: int = 0


@event("desk.carts.cart-changed", entity="cart", domain="shop", key="cart_id")
class CartChanged:
    cart_id: int


def effect(handler: str, number: int = 0) -> None:
    """Do what a test can see, in the transaction of whoever calls."""
    Effect.objects.create(handler=handler, number=number)


def effects() -> list[tuple[str, int]]:
    """Return what was done, in order."""
    return list(Effect.objects.order_by("id").values_list("handler", "number"))
