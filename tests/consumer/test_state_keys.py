"""Keys of stateful handlers that their column cannot hold: a run that fails, not a worker that does."""

from __future__ import annotations

from django_eventbus.delivery.stateful import stateful_handler
from django_eventbus.models import RetryMessage
from tests.consumer.scene import Counted, Scene, counted, note, noted
from tests.shop.models import Tally


def test_a_key_that_the_column_cannot_hold_is_the_failure_of_its_run_alone(scene: Scene) -> None:
    def count(event: Counted, tally: Tally) -> None:
        note("count", event)

    stateful_handler(Counted, key="key", state=Tally, state_key="count", name="count")(count)

    delivered = scene.deliver(counted(1, "seven"), counted(2, "7"))

    assert delivered == 2
    assert noted("count") == [2]
    (waiting,) = RetryMessage.objects.all()
    assert (waiting.attempts, waiting.error_type) == (1, "ValueError")
    assert "'seven'" in waiting.error_message


def test_a_key_beyond_the_numbers_of_the_column_is_the_failure_of_its_run_alone(scene: Scene) -> None:
    def count(event: Counted, tally: Tally) -> None:
        note("count", event)

    stateful_handler(Counted, key="key", state=Tally, state_key="count", name="count")(count)

    delivered = scene.deliver(counted(1, "9" * 30), counted(2, "7"))

    assert delivered == 2
    assert noted("count") == [2]
    assert RetryMessage.objects.get().attempts == 1
