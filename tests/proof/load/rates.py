"""What do counts over time say: how fast, since when fast again, since when nothing waits?"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

WINDOW = 3.0  # seconds of the sliding window
ENOUGH = 0.95  # share of the rate before that counts as the rate before
STEP = 0.25  # seconds between two positions of the window
CALM = 1.0  # seconds for which nothing may wait before the backlog counts as gone


@dataclass(slots=True)
class Series:
    """A count that only grows, as it was found at some moments."""

    times: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def add(self, at: float, count: int) -> None:
        self.times.append(at)
        self.counts.append(count)

    def at(self, moment: float) -> float:
        """Return the count at a moment, on a straight line between the two samples around it."""
        place = bisect_left(self.times, moment)
        if place == 0:
            return float(self.counts[0]) if self.counts else 0.0
        if place == len(self.times):
            return float(self.counts[-1])
        before, after = self.times[place - 1], self.times[place]
        share = (moment - before) / (after - before)
        return self.counts[place - 1] + share * (self.counts[place] - self.counts[place - 1])

    def rate(self, begin: float, end: float) -> float:
        """Return how many came a second."""
        return (self.at(end) - self.at(begin)) / (end - begin) if end > begin else 0.0

    def per_second(self, begin: float, end: float) -> list[int]:
        """Return how many came in each whole second."""
        return [round(self.at(second + 1) - self.at(second)) for second in _steps(begin, end - 1, 1.0)]


def rate_back(handled: Series, *, struck: float, since: float, until: float, before: float) -> float | None:
    """Return the seconds until the load is handled as fast as before; None if it never is.

    That is the first moment from which it is so, both in the next second and in the whole window: one of the two alone
    could be a burst. Nothing counts that was handled before the fault, which struck at `struck`.
    """
    enough = ENOUGH * before
    for moment in _steps(max(since, struck), until - WINDOW, STEP):
        if min(handled.rate(moment, moment + 1), handled.rate(moment, moment + WINDOW)) >= enough:
            return moment - since
    return None


def most_waiting(committed: Series, handled: Series, begin: float, end: float) -> float:
    """Return the most that was committed and not yet handled at any moment."""
    return max((committed.at(moment) - handled.at(moment) for moment in _steps(begin, end, STEP)), default=0.0)


def backlog_gone(committed: Series, handled: Series, *, since: float, until: float, normal: float) -> float | None:
    """Return the seconds from `since` until no more waits than is normal, for a while; None if more always does."""
    calm_since: float | None = None
    for moment in _steps(since, until, STEP):
        if committed.at(moment) - handled.at(moment) > normal:
            calm_since = None
            continue
        calm_since = moment if calm_since is None else calm_since
        if moment - calm_since >= CALM:
            return calm_since - since
    return None


def _steps(begin: float, end: float, step: float) -> Iterator[float]:
    moment = begin
    while moment <= end:
        yield moment
        moment += step
