"""A handler on another database alias keeps its inbox, its retries and its fence there."""

from __future__ import annotations

import pytest

from django_eventbus.delivery.registry import handler
from django_eventbus.models import DeadLetter, InboxMessage, PartitionEpoch, RetryMessage
from tests.consumer.scene import Counted, Scene, counted, noted
from tests.shop.models import Effect

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


def test_each_alias_has_its_own_books() -> None:
    scene = Scene()
    scene.handles("here")

    @handler(Counted, name="there", using="other")
    def there(event: Counted) -> None:
        Effect.objects.using("other").create(handler="there", key=event.key, number=event.number)
        if event.number == 2:
            raise ValueError

    scene.deliver(counted(1), counted(2), counted(3))
    scene.deliver(counted(1, offset=8))

    assert noted("here") == [1, 2, 3]
    assert list(Effect.objects.using("other").values_list("number", flat=True)) == [1]
    assert InboxMessage.objects.count() == InboxMessage.objects.using("other").count() == 3
    assert not RetryMessage.objects.exists()
    assert RetryMessage.objects.using("other").count() == 2
    assert PartitionEpoch.objects.using("other").get().handlers == ["there"]
    scene.close()
    assert PartitionEpoch.objects.using("other").get().is_clean


def test_an_unreadable_record_is_buried_on_the_alias_of_the_bus() -> None:
    scene = Scene()

    @handler(Counted, name="there", using="other")
    def there(event: Counted) -> None: ...

    scene.deliver(counted(1, value=b"["))

    assert DeadLetter.objects.get().handler == ""
    scene.close()
