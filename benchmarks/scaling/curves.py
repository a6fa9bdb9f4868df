"""What is a curve: the time of one event, measured at sizes that lie far apart?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from .meter import Meter

FLAT = 1.5  # the largest size may cost so many times the smallest


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Be what was measured at one size."""

    size: int
    seconds: float  # of one event, by the clock: the median of its samples
    ours: float  # processor seconds of one event in this process
    servers: float  # processor seconds of one event in PostgreSQL and, where it takes part, Kafka
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Be one thing that is done at every size of a curve."""

    name: str
    unit: str  # "row", "message": what one event is here
    points: tuple[Point, ...]
    counts: bool = True  # False: measured to explain another one, and not judged

    @property
    def ratio(self) -> float:
        """Return what an event costs at the largest size, compared with the smallest."""
        return self.points[-1].seconds / self.points[0].seconds

    @property
    def processor_ratio(self) -> float:
        """Return the same for processor time, which other work on the machine disturbs less."""
        first, last = self.points[0], self.points[-1]
        return (last.ours + last.servers) / max(first.ours + first.servers, 1e-9)

    @property
    def is_flat(self) -> bool:
        return self.ratio <= FLAT


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Be all series over one growing thing."""

    name: str
    grows: str  # what the sizes count
    series: tuple[Series, ...]


def series(name: str, *, unit: str, meters: Mapping[int, Meter], counts: bool = True) -> Series:
    """Make a series of what the meters of each size have noted."""
    points = tuple(
        Point(
            size=size,
            seconds=median(meter.samples),
            ours=meter.ours / meter.events,
            servers=meter.servers / meter.events,
            samples=len(meter.samples),
        )
        for size, meter in sorted(meters.items())
    )
    return Series(name=name, unit=unit, points=points, counts=counts)


def up_to(sizes: Sequence[int], largest: int | None) -> tuple[int, ...]:
    """Leave out the sizes that are not wanted; the two smallest always stay."""
    return tuple(size for place, size in enumerate(sizes) if place < 2 or largest is None or size <= largest)
