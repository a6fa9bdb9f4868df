"""What waits aside holds up nobody, and gives up its place to nobody for good."""

from __future__ import annotations

from django_eventbus.delivery.replay import replay
from django_eventbus.exceptions import RetryAside
from django_eventbus.models import DeadLetter, RetryMessage
from tests.consumer.scene import Counted, Scene, counted, noted


def early(*numbers: int) -> list[int]:
    """Return the numbers that come too early, for a test to empty."""
    return list(numbers)


def refuse(too_early: list[int]):  # type: ignore[no-untyped-def]
    def fails(event: Counted) -> None:
        if event.number in too_early:
            raise RetryAside(f"{event.number} is too early")

    return fails


def test_later_messages_of_the_key_pass_one_that_waits_aside(scene: Scene) -> None:
    scene.handles("patient", refuse(too_early := early(1)))

    scene.deliver(counted(1), counted(2))
    scene.deliver(counted(3))
    assert noted("patient") == [2, 3]
    too_early.clear()
    scene.retry()

    assert noted("patient") == [2, 3, 1]
    assert not RetryMessage.objects.exists()


def test_a_message_that_waited_behind_another_may_step_aside_too(scene: Scene) -> None:
    broken = [1]

    def fails(event: Counted) -> None:
        if event.number in broken:
            raise ValueError(event.number)
        refuse(too_early)(event)

    too_early = early(2)
    scene.handles("patient", fails)
    scene.deliver(counted(1), counted(2), counted(3))
    assert noted("patient") == []

    broken.clear()
    scene.retry()

    assert noted("patient") == [1, 3]
    row = RetryMessage.objects.get()
    assert (row.position, row.lane, row.attempts) == (2, row.key, 1)


def test_what_waited_aside_for_ever_is_dead_and_holds_no_key(scene: Scene) -> None:
    scene.handles("patient", refuse(early(1)), on_dead_letter="hold_key")
    scene.deliver(counted(1), counted(2))

    scene.retry()
    scene.retry()

    assert DeadLetter.objects.get().attempts == 3
    scene.deliver(counted(3))
    assert noted("patient") == [2, 3]
    assert not RetryMessage.objects.exists()


def test_its_replay_takes_its_place_among_the_others_of_its_key(scene: Scene) -> None:
    broken = [True]

    def fails(event: Counted) -> None:
        if broken and event.number == 1:
            raise ValueError(event.number)
        refuse(too_early)(event)

    too_early = early(2)
    scene.handles("patient", fails)
    scene.deliver(counted(1), counted(2))
    for _ in range(6):
        scene.retry()
    assert noted("patient") == []
    broken.clear()
    too_early.clear()

    replay(DeadLetter.objects.order_by("-position").values_list("pk", flat=True), actor="ann", using="default")
    scene.retry()

    assert noted("patient") == [1, 2]
