"""What do other services get to see of a domain event?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from django_eventbus import NotPublishable, checks, domain_event, handler, publish, translates
from django_eventbus.exceptions import ContractError, EventInvalid, NotAnEvent
from django_eventbus.models import OutboxMessage, ScheduledMessage
from django_eventbus.testing import captured_events
from tests.delivery.inside import CartChanged, CartFilled, CartViewed, ItemAdded, effect, effects
from tests.delivery.shop import OrderPlaced
from tests.delivery.test_describing import shown

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("cls", [ItemAdded, CartViewed, CartFilled])
def test_translations_are_published_in_the_same_transaction_however_the_event_is_dispatched(cls: Any) -> None:
    @translates(cls)
    def tell(event: Any) -> CartChanged:
        return CartChanged(cart_id=event.cart_id)

    with transaction.atomic():
        publish(cls(cart_id=3))
        assert "desk.carts.cart-changed" in OutboxMessage.objects.values_list("event_name", flat=True)
        transaction.set_rollback(True)

    assert not OutboxMessage.objects.exists()


def test_they_name_the_domain_event_as_their_cause_and_go_before_what_handlers_publish() -> None:
    @handler(ItemAdded, name="desk.tell")
    def answer(event: ItemAdded) -> CartChanged:
        return CartChanged(cart_id=2)

    @translates(ItemAdded)
    def tell(event: ItemAdded) -> Iterator[CartChanged]:
        yield CartChanged(cart_id=1)

    with captured_events() as captured, transaction.atomic():
        event_id = publish(ItemAdded(cart_id=0))

    assert [getattr(each.event, "cart_id", None) for each in captured] == [0, 1, 2]
    told = captured[1].envelope
    assert (told.causation_id, told.correlation_id) == (str(event_id), str(event_id))


def test_several_functions_and_nothing_are_fine() -> None:
    @translates(ItemAdded)
    def first(event: ItemAdded) -> list[CartChanged]:
        return [CartChanged(cart_id=1), CartChanged(cart_id=2)]

    @translates(ItemAdded)
    def second(event: ItemAdded) -> None:
        return None

    with transaction.atomic():
        publish(ItemAdded(cart_id=0))

    assert OutboxMessage.objects.count() == 2


def test_a_delay_puts_off_the_event_but_not_what_others_are_told() -> None:
    @translates(CartFilled)
    def tell(event: CartFilled) -> CartChanged:
        return CartChanged(cart_id=event.cart_id)

    with transaction.atomic():
        publish(CartFilled(cart_id=1), delay=60)

    assert ScheduledMessage.objects.get().event_name == "desk.carts.cart-filled"
    assert OutboxMessage.objects.get().event_name == "desk.carts.cart-changed"


def test_an_event_that_must_be_translated_is_an_error_without_a_translation() -> None:
    @domain_event("desk.carts.cart-bought", must_translate=True)
    class CartBought:
        cart_id: int

    @handler(CartBought, name="desk.note")
    def note(event: CartBought) -> None:
        effect("note")

    assert "eventbus.E080" in [message.id for message in checks.check_domain_events()]
    with transaction.atomic():
        with pytest.raises(NotPublishable, match="must be translated, and nothing does it"):
            publish(CartBought(cart_id=1))
        effect("went on")
    assert effects() == [("went on", 0)]

    @translates(CartBought)
    def tell(event: CartBought) -> None: ...

    assert "eventbus.E080" not in [message.id for message in checks.check_domain_events()]
    with transaction.atomic():
        publish(CartBought(cart_id=1))
    assert effects() == [("went on", 0), ("note", 0)]


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        (ItemAdded(cart_id=1), NotPublishable, "a domain event too, which no other service can see"),
        ("text", NotAnEvent, "tell returned str, which is no event"),
    ],
)
def test_only_events_for_others_are_translations(made: object, error: type[Exception], message: str) -> None:
    @translates(ItemAdded)
    def tell(event: ItemAdded) -> Any:
        return made

    with transaction.atomic():
        with pytest.raises(error, match=message):
            publish(ItemAdded(cart_id=1))
        effect("went on")

    assert effects() == [("went on", 0)]


def test_an_invalid_translation_takes_the_event_with_it() -> None:
    @translates(CartFilled)
    def tell(event: CartFilled) -> CartChanged:
        return CartChanged(cart_id="one")  # type: ignore[arg-type]

    with pytest.raises(EventInvalid), transaction.atomic():
        publish(CartFilled(cart_id=1))

    assert not OutboxMessage.objects.exists()


def test_mistakes_are_told_at_the_declaration() -> None:
    with pytest.raises(ContractError, match="it is no @domain_event, and travels as it is"):
        translates(OrderPlaced)
    with pytest.raises(ContractError, match=r"@translates\(str\)"):
        translates(str)  # type: ignore[type-var]
    with pytest.raises(ContractError, match="make it a plain function of the event alone"):

        @translates(ItemAdded)  # type: ignore[type-var]
        async def tell(event: ItemAdded) -> None: ...


def test_other_declarations_that_cannot_work_are_found_by_checks() -> None:
    @handler(ItemAdded, name="desk.far", using="other")
    def far(event: ItemAdded) -> None: ...

    @handler(ItemAdded, CartViewed, name="desk.patient", timeout=5, dedupe_key=lambda event: 1)
    def patient(event: ItemAdded | CartViewed) -> None: ...

    @handler(ItemAdded, CartFilled, name="desk.both", timeout=5)
    def both(event: ItemAdded | CartFilled) -> None: ...

    found = {message.id: message.msg for message in checks.check_domain_events()}

    assert (
        "Handler desk.far: ItemAdded is dispatched inline, in a transaction on database 'default'"
        in found["eventbus.E081"]
    )
    assert (
        "Handler desk.patient: its events are never stored, so timeout=, dedupe_key= has no effect"
        in found["eventbus.W080"]
    )
    assert not any("desk.both" in text for text in found.values())


def test_eventbus_describe_shows_how_domain_events_go() -> None:
    @handler(ItemAdded, name="desk.count")
    def count(event: ItemAdded) -> None: ...

    @translates(ItemAdded)
    def tell(event: ItemAdded) -> None: ...

    listed = shown()

    assert (
        "desk.carts.item-added v1 inside the service, in the transaction that publishes it [default] -> desk.count"
        in listed
    )
    assert "desk.carts.cart-viewed v1 inside the service, after the commit, in the same process" in listed
    assert "desk.carts.cart-filled v1 inside the service, queued on local [default] -> no handler" in listed
    assert "translated by: tests.delivery.test_translation." in shown("ItemAdded")
