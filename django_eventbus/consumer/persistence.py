"""What is tried next when a unit of work was interrupted?"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from .ownership import Claim
from .trouble import Clash, CommitRefused, Fenced, Interrupted, Outage, TransactionEnded

logger = logging.getLogger(__name__)

LOSSES_TO_BLAME = 3  # who loses the connection this often, alone in its unit, breaks it
CLASHES_TO_BLAME = 5
LONGEST_PAUSE = 2.0  # seconds; so late, at most, a unit learns that the database is back


class Claimed(Protocol):
    """Be anything that belongs to a partition."""

    @property
    def claim(self) -> Claim: ...


Work = TypeVar("Work", bound=Claimed)


class Attempt(AbstractContextManager["Attempt[Work]"], Generic[Work]):
    """One try of one part; inside its block, Interrupted is caught and decides what is tried next."""

    def __init__(self, persistence: Persistence[Work], part: list[Work], *, is_alone: bool) -> None:
        self.part = part
        self.is_alone = is_alone  # singled out: at most one run in the unit
        self.pause = 0.0  # seconds to wait after the block
        self.is_outage = False  # nothing will go on before the database is back
        self._persistence = persistence

    @property
    def using(self) -> str:
        return self._persistence.using

    @property
    def condemned(self) -> Mapping[UUID, BaseException]:
        """Return the runs that have to fail, by key, with what they fail with."""
        return self._persistence.condemned

    def alone(self) -> Attempt[Work]:
        """Return the same try with one run only."""
        return Attempt(self._persistence, self.part, is_alone=True)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if exc is None:
            self._persistence.calm()
        if not isinstance(exc, Interrupted):
            return False
        self.is_outage = isinstance(exc, Outage)
        self.pause = self._persistence.interrupted(self, exc)
        return True


class Persistence(Generic[Work]):
    """Yield parts until each is committed or its partition belongs to somebody else.

    A part that was interrupted is tried again piece by piece, since one of its runs may be the cause; only a piece that
    interrupts again and again while it is alone is condemned to count as a failed attempt.
    """

    def __init__(self, parts: Iterable[Sequence[Work]], *, using: str, on_fenced: Callable[[Claim], None]) -> None:
        self.using = using
        self.condemned: dict[UUID, BaseException] = {}
        self._parts: deque[tuple[list[Work], bool]] = deque((list(part), False) for part in parts)
        self._on_fenced = on_fenced
        self._blame: dict[UUID, int] = {}
        self._in_a_row = 0

    def __iter__(self) -> Iterator[Attempt[Work]]:
        while self._parts:
            part, is_alone = self._parts.popleft()
            owned = [work for work in part if work.claim.is_current]
            if owned:
                yield Attempt(self, owned, is_alone=is_alone)

    def calm(self) -> None:
        """Note that a part was committed."""
        self._in_a_row = 0

    def interrupted(self, attempt: Attempt[Work], exc: Interrupted) -> float:
        """Plan what follows; return how many seconds to wait before it."""
        self._in_a_row += 1
        if isinstance(exc, Fenced):
            for claim in {work.claim for work in attempt.part}:
                if claim.fences[self.using].partition_id in exc.partition_ids:
                    self._on_fenced(claim)
            self._parts.appendleft((attempt.part, attempt.is_alone))
            return 0.0
        logger.warning("unit interrupted by=%s error=%s", type(exc).__name__, str(exc)[:200])
        if attempt.is_alone:
            self._blame_for(exc)
        self._parts.extendleft(([work], True) for work in reversed(attempt.part))
        return min(LONGEST_PAUSE, (0.1 if isinstance(exc, Outage) else 0.02) * 2.0 ** min(self._in_a_row - 1, 10))

    def _blame_for(self, exc: Interrupted) -> None:
        if exc.run is None:
            return
        key = exc.run.key
        self._blame[key] = self._blame.get(key, 0) + 1
        match exc:
            case CommitRefused() | TransactionEnded():
                limit = 1
            case Clash():
                limit = CLASHES_TO_BLAME
            case _:
                limit = LOSSES_TO_BLAME
        if self._blame[key] >= limit:
            told = exc if isinstance(exc, TransactionEnded) else exc.__cause__ or exc
            exc.run.condemned = self.condemned[key] = told
