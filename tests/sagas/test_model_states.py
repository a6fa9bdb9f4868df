"""A saga whose state is a row of the project's own."""

from __future__ import annotations

import json

import pytest

from django_eventbus.models import RetryMessage, SagaHistory, SagaState
from django_eventbus.sagas.routing import on, starts
from django_eventbus.sagas.saga import Saga
from tests.sagas.fulfilment import Paid, Placed, Reserved, Scene
from tests.shop.models import Parcel


@pytest.fixture(autouse=True)
def declared() -> None:
    class ParcelSaga(Saga[Parcel], name="shop.ParcelSaga", correlate="order_id"):
        @starts(Placed)
        def begin(self, event: Placed) -> None:
            self.state = Parcel(weight=event.total)

        @on(Reserved)
        def reserved(self, event: Reserved) -> None:
            self.state.note = event.note

        @on(Paid)
        def paid(self, event: Paid) -> None:
            self.state.weight += 1
            raise LookupError("no label")


def test_its_row_is_made_with_the_instance_and_changes_with_its_steps(scene: Scene) -> None:
    scene.deliver(Placed(order_id="1", total=3), Placed(order_id="2", total=5), Reserved(order_id="1", note="shelf 3"))

    assert set(Parcel.objects.values_list("saga_key", "weight", "note")) == {("1", 3, "shelf 3"), ("2", 5, "")}
    assert SagaState.objects.get(key="1").state is None
    step = SagaHistory.objects.get(instance_id=SagaState.objects.get(key="1").pk, version=2)
    assert json.loads(step.state or "")["note"] == "shelf 3"


def test_a_step_that_fails_leaves_the_row_as_it_was(scene: Scene) -> None:
    scene.deliver(Placed(order_id="1", total=3), Paid(order_id="1"))

    assert Parcel.objects.get().weight == 3
    assert RetryMessage.objects.count() == 1
