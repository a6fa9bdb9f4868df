"""Which ids may still hold a message that is not sent, so that no read walks over what this relay has deleted?

Sent rows stay in the index for as long as any session of the server holds an older snapshot. Reading from the start
would visit them again with every step, so a relay reads above a floor, and there only the ranges that are still open.
Ids do not commit in their order: a range is closed only when everyone who could still bring one of its ids has ended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

MOST_RANGES = 2000  # above it a walk from the floor is cheaper

Range = tuple[int, int]  # first and last id, both included

PREPARED = "-1/"  # how PostgreSQL names the virtual transaction of a prepared one


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Describe what the next read must cover: the ranges, and every id above `after`."""

    floor: int = 0  # no unsent message has an id up to here, and none will
    cursor: int = 0  # highest id that a read has reached
    ranges: tuple[Range, ...] = ()  # in (floor, cursor]: ids not seen yet, and rows that were read but are still there

    @property
    def after(self) -> int:
        """Return the id above which everything is read."""
        return max(self.floor, self.cursor)

    def covers(self, id_: int) -> bool:
        return id_ > self.after or any(first <= id_ <= last for first, last in self.ranges)

    def learn(self, read: Sequence[int], *, left: Collection[int], safe: int, is_cut_off: bool) -> Window:
        """Return the window after a committed step that read these ids, in their order, and left some of them.

        `safe` was known before the read began: ids up to it were visible to that read, or never will be. `is_cut_off`
        says that the read stopped at its limit, so that nothing is known of what lies behind its last row.
        """
        floor = max(self.floor, min(safe, read[0] - 1) if read else safe)
        reached = min(safe, read[-1]) if is_cut_off and read else safe
        last = max(self.after, read[-1]) if read else self.after
        if not self.ranges and not left and last - self.after == len(read):
            return Window(floor=floor, cursor=last)  # nothing was skipped: the usual case, kept free of loops
        ranges = [*_unseen(self._covered(last), read, above=reached), *((id_, id_) for id_ in left)]
        joined = tuple(_joined(sorted(ranges)))
        if len(joined) > MOST_RANGES:
            return Window(floor=floor, cursor=floor)
        return Window(floor=floor, cursor=last, ranges=joined)

    def _covered(self, last: int) -> Iterator[Range]:
        yield from self.ranges
        if last > self.after:
            yield (self.after + 1, last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Be an id that becomes safe once none of those is left who were writing when it was the newest."""

    id: int  # last id that the sequence had given; read before `writers`, who took their lock before their id
    writers: frozenset[str]  # virtual transactions that held the table's lock for writing

    @property
    def is_safe(self) -> bool:
        return not self.writers

    def still_written_by(self, writers: Iterable[str]) -> Candidate:
        """Return the candidate with those writers who are still there.

        A prepared transaction has changed its name since, so any prepared one counts.
        """
        left = frozenset(name for name in writers if name in self.writers or name.startswith(PREPARED))
        return Candidate(id=self.id, writers=left)


def _unseen(covered: Iterable[Range], read: Sequence[int], *, above: int) -> Iterator[Range]:
    """Cut the ids that were read out of the covered ranges, and everything that is not above `above`."""
    place = 0
    for first, last in covered:
        start = first
        while place < len(read) and read[place] <= last:
            if start < read[place] and read[place] - 1 > above:
                yield (max(start, above + 1), read[place] - 1)
            start = max(start, read[place] + 1)
            place += 1
        if start <= last and last > above:
            yield (max(start, above + 1), last)


def _joined(ranges: Iterable[Range]) -> Iterator[Range]:
    current: Range | None = None
    for first, last in ranges:
        if current is not None and first <= current[1] + 1:
            current = (current[0], max(current[1], last))
            continue
        if current is not None:
            yield current
        current = (first, last)
    if current is not None:
        yield current
