"""Does a row of samples say that something grows which must not?

What a process holds goes up and down all the time, and a leak lifts the lowest values too. So the samples are divided
into stretches of equal length, the lowest value of each stretch is taken, and a line is laid through those of the last
two thirds, the first third being left to caches and pools. What the line gains over its length must stay below a
tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.proof.soak.sampling import Sample

STRETCHES = 30
MEGABYTE = 1024 * 1024.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What a line may gain: so much, or such a share of where it begins, whichever is more."""

    much: float
    share: float = 0.0
    unit: str = ""

    def of(self, start: float) -> float:
        return max(self.much, self.share * abs(start))


TOLERANCES = {  # by the end of what was measured
    " memory": Tolerance(much=4 * MEGABYTE, share=0.06, unit="MB"),
    " threads": Tolerance(much=0.9),
    " open files": Tolerance(much=0.9),
    " open sockets": Tolerance(much=0.9),
    " open pipes": Tolerance(much=0.9),
    " open others": Tolerance(much=0.9),
    " connections": Tolerance(much=0.9),
    " advisory locks": Tolerance(much=0.9),
    # Dead rows wait until autovacuum finds 20,000 of them: a tooth of the saw is about 15 MB.
    "eventbus_outbox bytes": Tolerance(much=32 * MEGABYTE, unit="MB"),
    "eventbus_outbox index bytes": Tolerance(much=4 * MEGABYTE, unit="MB"),
    "eventbus_retry bytes": Tolerance(much=8 * MEGABYTE, unit="MB"),
    "eventbus_retry index bytes": Tolerance(much=8 * MEGABYTE, unit="MB"),
    "eventbus_inbox bytes a row": Tolerance(much=8.0, share=0.1, unit="B"),  # it keeps every row, for its retention
    "eventbus_inbox index bytes a row": Tolerance(much=8.0, share=0.1, unit="B"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One thing that was measured, over the last two thirds of a run."""

    name: str
    start: float  # of the fitted line
    gain: float  # of the fitted line, from its start to its end
    most: float  # of all samples
    tolerance: float
    unit: str = ""

    @property
    def is_leak(self) -> bool:
        return self.gain > self.tolerance

    def __str__(self) -> str:
        start, gain, most, limit = (
            _shown(each, self.unit) for each in (self.start, self.gain, self.most, self.tolerance)
        )
        return f"{self.name}: {start}, gained {gain} (at most {limit} {self.unit or 'allowed'}), highest {most}"


def trends(samples: Sequence[Sample]) -> list[Trend]:
    """Lay a line through everything that was measured and has a tolerance."""
    derived = [_with_ratios(sample) for sample in samples]
    names = sorted({name for sample in derived for name in sample})
    found = []
    for name in names:
        tolerance = next((limit for end, limit in TOLERANCES.items() if name.endswith(end)), None)
        points = [(sample["at"], sample[name]) for sample in derived if name in sample]
        if tolerance is not None and len(points) > 2:
            found.append(_trend(name, points, tolerance))
    return found


def lowest(points: Sequence[tuple[float, float]], stretches: int = STRETCHES) -> list[tuple[float, float]]:
    """Return the lowest point of each stretch of time."""
    first, last = points[0][0], points[-1][0]
    length = (last - first) / stretches or 1.0
    by_stretch: dict[int, tuple[float, float]] = {}
    for at, value in points:
        stretch = min(int((at - first) / length), stretches - 1)
        if stretch not in by_stretch or value < by_stretch[stretch][1]:
            by_stretch[stretch] = (at, value)
    return [by_stretch[stretch] for stretch in sorted(by_stretch)]


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return slope and value at the first point of the straight line with the least squares."""
    count, first = len(points), points[0][0]
    middle = sum(at - first for at, _ in points) / count
    mean = sum(value for _, value in points) / count
    spread = sum((at - first - middle) ** 2 for at, _ in points)
    slope = sum((at - first - middle) * (value - mean) for at, value in points) / spread if spread else 0.0
    return slope, mean - slope * middle


def _trend(name: str, points: Sequence[tuple[float, float]], tolerance: Tolerance) -> Trend:
    begin = points[0][0] + (points[-1][0] - points[0][0]) / 3
    late = [point for point in points if point[0] >= begin]
    low = lowest(late, STRETCHES * 2 // 3)
    slope, start = line(low)
    gain = slope * (low[-1][0] - low[0][0])
    most = max(value for _, value in points)
    return Trend(name=name, start=start, gain=gain, most=most, tolerance=tolerance.of(start), unit=tolerance.unit)


def _with_ratios(sample: Sample) -> Sample:
    rows = sample.get("eventbus_inbox rows", 0)
    ratios = {
        f"eventbus_inbox {what}bytes a row": sample[f"eventbus_inbox {what}bytes"] / rows
        for what in ("", "index ")
        if rows and f"eventbus_inbox {what}bytes" in sample
    }
    return sample | ratios


def _shown(value: float, unit: str) -> str:
    return f"{value / MEGABYTE if unit == 'MB' else value:.1f}"
