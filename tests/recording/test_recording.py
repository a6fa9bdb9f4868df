"""Are recorded events published with the saving of their model, and neither lost nor published twice?"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction

from django_eventbus import EventInvalid, NotAnEvent, TransactionRequired, handler
from django_eventbus.models import OutboxMessage, ScheduledMessage
from django_eventbus.testing import captured_events
from tests.recording.basket_events import BasketEmptied, ItemAdded
from tests.shop.models import Basket

pytestmark = pytest.mark.django_db(transaction=True)


class Undone(Exception):
    pass


@pytest.fixture
def basket() -> Basket:
    return Basket.objects.create()


def add(basket: Basket, number: int) -> None:
    basket.count += 1
    basket.record_event(ItemAdded(basket_id=basket.pk, number=number))


def published() -> list[int]:
    names = OutboxMessage.objects.order_by("id").values_list("payload", flat=True)
    return [int(bytes(payload).split(b'"number":')[1].rstrip(b"}")) for payload in names]


def test_events_are_published_with_the_change_and_in_their_order(basket: Basket) -> None:
    add(basket, 1)
    add(basket, 2)
    assert basket.recorded_events == (
        ItemAdded(basket_id=basket.pk, number=1),
        ItemAdded(basket_id=basket.pk, number=2),
    )
    assert published() == []

    basket.save()

    assert published() == [1, 2]
    assert Basket.objects.get().count == 2
    assert not basket.recorded_events


def test_saving_again_publishes_nothing_again(basket: Basket) -> None:
    add(basket, 1)

    basket.save()
    basket.save()
    with transaction.atomic():
        basket.save()
        basket.save(update_fields=["count"])

    assert published() == [1]


def test_the_id_of_an_event_is_known_when_it_is_recorded(basket: Basket) -> None:
    event_id = basket.record_event(ItemAdded(basket_id=basket.pk, number=1), headers={"origin": "web"})

    basket.save()

    row = OutboxMessage.objects.get()
    assert row.event_id == event_id
    assert "origin\x1fweb" in row.headers


def test_options_of_publish_are_kept_with_the_event(basket: Basket) -> None:
    basket.record_event(ItemAdded(basket_id=basket.pk, number=1), delay=60, key="k")

    basket.save()

    assert ScheduledMessage.objects.get().key == b"k"


def test_a_save_that_is_rolled_back_publishes_with_the_next_one(basket: Basket) -> None:
    add(basket, 1)
    with pytest.raises(Undone), transaction.atomic():
        _save_and_fail(basket)
    assert published() == []
    assert basket.recorded_events == (ItemAdded(basket_id=basket.pk, number=1),)
    add(basket, 2)

    basket.save()
    basket.save()

    assert published() == [1, 2]


def test_a_savepoint_that_is_rolled_back_gives_back_its_events_alone(basket: Basket) -> None:
    with transaction.atomic():
        add(basket, 1)
        basket.save()
        add(basket, 2)
        with pytest.raises(Undone), transaction.atomic():
            _save_and_fail(basket)
        basket.save()

    basket.save()
    assert published() == [1, 2]


def test_a_save_that_fails_keeps_its_events(basket: Basket) -> None:
    add(basket, 1)
    Basket.objects.filter(pk=basket.pk).delete()

    with pytest.raises(Exception, match="Save with update_fields did not affect any rows"):
        basket.save(update_fields=["count"])
    assert published() == []

    basket.save()
    assert published() == [1]


def test_an_event_that_is_refused_takes_the_change_with_it(basket: Basket) -> None:
    basket.count = 7
    basket.record_event(ItemAdded(basket_id=basket.pk, number="many"))  # type: ignore[arg-type]

    with pytest.raises(EventInvalid):
        basket.save()

    assert Basket.objects.get().count == 0
    assert not OutboxMessage.objects.exists()


def test_deleting_publishes_too(basket: Basket) -> None:
    add(basket, 1)

    assert basket.delete()[0] == 1

    assert published() == [1]
    assert not Basket.objects.exists()


def test_handlers_of_domain_events_see_the_change_and_may_save_the_same_instance(basket: Basket) -> None:
    @handler(BasketEmptied, name="tests.rename")
    def rename(event: BasketEmptied) -> None:
        assert connection.in_atomic_block
        assert Basket.objects.get(pk=event.basket_id).count == 3
        basket.customer = "renamed"
        basket.save()

    basket.count = 3
    basket.record_event(BasketEmptied(basket_id=basket.pk))
    with captured_events() as captured:
        basket.save()

    assert captured.events == [BasketEmptied(basket_id=basket.pk)]
    assert Basket.objects.get().customer == "renamed"


def test_what_an_inline_handler_raises_undoes_the_change(basket: Basket) -> None:
    @handler(BasketEmptied, name="tests.refuse")
    def refuse(event: BasketEmptied) -> None:
        raise Undone

    basket.count = 3
    basket.record_event(BasketEmptied(basket_id=basket.pk))

    with pytest.raises(Undone):
        basket.save()

    assert Basket.objects.get().count == 0
    assert basket.recorded_events == (BasketEmptied(basket_id=basket.pk),)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda basket: pickle.loads(pickle.dumps(basket))])
def test_copies_have_nothing_to_tell(basket: Basket, copied: Any) -> None:
    add(basket, 1)
    with transaction.atomic():
        basket.save()
        add(basket, 2)
        other = copied(basket)

    assert other.recorded_events == ()
    other.save()
    assert published() == [1]


def test_saving_from_a_coroutine_publishes(basket: Basket) -> None:
    add(basket, 1)

    async_to_sync(basket.asave)()

    assert published() == [1]


def test_only_events_can_be_recorded(basket: Basket) -> None:
    with pytest.raises(NotAnEvent):
        basket.record_event("emptied")


@pytest.mark.django_db(databases=["default", "other"], transaction=True)
def test_a_change_on_another_database_than_the_bus_is_refused_with_its_events() -> None:
    basket = Basket()
    basket.record_event(ItemAdded(basket_id=1, number=1))

    with pytest.raises(TransactionRequired, match="would not commit together"):
        basket.save(using="other")


def test_instances_do_not_share_what_they_record() -> None:
    first, second = Basket(), Basket()
    add(first, 1)

    assert second.recorded_events == ()


def _save_and_fail(basket: Basket) -> None:
    basket.save()
    raise Undone


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_database_that_is_given_by_position_is_heeded() -> None:
    basket = Basket.objects.create()
    Basket(pk=basket.pk).save(using="other")
    add(basket, 1)

    with pytest.raises(TransactionRequired):
        basket.delete("other")

    assert published() == []
    assert Basket.objects.using("other").exists()
