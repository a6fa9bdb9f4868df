"""Do handlers that take other events make a message dearer?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .curves import Curve, series, up_to
from .inbox import declare
from .meter import Meter
from .run import Run
from .units import UNIT, Units

SIZES = {"small": (1, 10, 100, 500), "full": (1, 5, 50, 500)}
TAKEN = 40  # units of a round


def measure(run: Run) -> Curve:
    """Take units of 50 messages in groups of so many handlers; one of them takes the event."""
    sizes = up_to(SIZES[run.scale], run.largest)
    others = [another_event(number) for number in range(max(sizes))]
    with run.stage.worlds((1,), lambda connection, world: None) as (world,):
        groups = {size: Units(world, partial(declare_beside, others[: size - 1]), group=f"of-{size}") for size in sizes}
        taken = {size: Meter([world.backend]) for size in sizes}
        for number in run.rounds_with_warm_up():
            for size in sizes:
                for _ in range(TAKEN):
                    groups[size].time(taken[size] if number else Meter(), groups[size].records(UNIT))
        for group in groups.values():
            group.require("HANDLED", UNIT * TAKEN * (run.rounds + 1))
    return Curve(
        name="handlers",
        grows="handlers of the group, one of which takes the event",
        series=(series("a unit of 50 messages", unit="message", meters=taken),),
    )


def another_event(number: int) -> type:
    """Make another event of the same topic."""
    from benchmarks.shop.events import OrderPlaced
    from django_eventbus import event
    from django_eventbus.events.registry import events

    topic = events.contract_of(OrderPlaced).topic
    made = type(f"Other{number}", (), {"__annotations__": {"order": str}, "__module__": __name__})
    return event(f"bench.shop.other-{number}", version=1, topic=topic, key="order")(made)


def declare_beside(others: list[type]) -> None:
    """Declare the handler that is called between those that are not."""
    half = len(others) // 2
    for place, cls in enumerate(others):
        if place == half:
            declare()
        _declare_for(cls, place)
    if not others:
        declare()


def _declare_for(cls: type, place: int) -> Callable[..., None]:
    from django_eventbus import handler

    def never(event: object) -> None:
        raise AssertionError(f"handler {place} was called with {event}")

    # A function that is declared again at its place in a file replaces itself: so each gets a line of its own.
    never.__code__ = never.__code__.replace(co_firstlineno=10_000 + place)
    return handler(cls, name=f"bench.other-{place}")(never)
