"""How is one unit of work of the product's consumer carried out, and timed, on the tables of one world?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.bench import require

from .meter import Meter
from .worlds import World

UNIT = 50  # messages
PLACE = ("bench.orders", 0)


class Units:
    """Be a worker that owns one partition and gets its records from memory instead of from Kafka."""

    def __init__(self, world: World, declare: Callable[[], None], *, group: str = "bench") -> None:
        """Form a group of the handlers that `declare` declares, and take the partition."""
        from dataclasses import replace

        from django_eventbus.consumer.ownership import Ownership
        from django_eventbus.consumer.reporting import Reporter
        from django_eventbus.consumer.turn import Turn
        from django_eventbus.delivery.registry import groups_of, handlers
        from django_eventbus.transports.base import TopicPartition

        config = replace(world.config, group=group)
        with handlers.isolated():
            declare()
            formed = groups_of(config)[group]
        ownership = Ownership(formed, config, owner="bench")
        ownership.want(TopicPartition(*PLACE))
        (self._claim,) = ownership.take_due()
        self._reporter = Reporter()
        self._turn = Turn(
            formed, config, has_loop=False, on_fenced=_refuse, reporter=self._reporter, sleep=lambda seconds: False
        )
        self._offset = 0

    def records(self, count: int) -> list[Any]:
        """Make messages that nobody has seen, as they come from Kafka."""
        from benchmarks.consuming.messages import ready
        from django_eventbus.transports.base import Record

        made = []
        for key, headers, value in ready(count):
            raw = [(name, text.encode()) for name, text in headers]
            made.append(Record(*PLACE, self._offset, key, value, raw, None))
            self._offset += 1
        return made

    def time(self, meter: Meter, records: Sequence[Any]) -> None:
        """Read and handle records; the sample is the time of one."""
        from django_eventbus.consumer.turn import Arrival

        with meter.block(len(records)):
            self._turn.carry_out(self._turn.sort(Arrival(record=record, claim=self._claim) for record in records))

    def require(self, outcome: str, count: int) -> None:
        """Fail where not so many messages have ended so."""
        from django_eventbus.delivery.deliveries import Outcome

        require(count, self._reporter.count(Outcome[outcome]), f"messages that ended {outcome}")


def _refuse(claim: object) -> None:
    raise RuntimeError(f"somebody else took {claim}")
