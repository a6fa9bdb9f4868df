"""What did a fault do to the load, did it recover in time, and how is that told?"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from tests.proof.chaos.scene import Fault
from tests.proof.load.judging import Verdict
from tests.proof.load.rates import ENOUGH

HEADER = (
    "fault", "lasted s", "before /s", "during /s", "after /s", "rate back s", "backlog gone s", "lost", "repeated",
    "inverted", "sent again", "goal",
)  # fmt: skip


@dataclass(kw_only=True)
class Result:
    """One fault, from some seconds before it to some seconds after the recovery."""

    name: str
    what: str = ""
    skipped: str = ""  # why it could not be brought about here
    failed: str = ""  # why the run came to no end
    lasted: float = 0.0
    before: float = 0.0  # handled a second
    during: float = 0.0
    after: float = 0.0
    committed_after: float = 0.0  # what writers gave at that time
    rate_back: float | None = None  # seconds
    backlog_gone: float | None = None
    most_waiting: int = 0
    limit: float = 0.0
    counts_from: str = ""
    verdict: Verdict | None = None
    ended_alone: list[str] = field(default_factory=list)  # processes that nobody had killed, and exits in error
    handled_each_second: list[int] = field(default_factory=list)  # from the beginning of the phase before
    seconds: float = 0.0  # the whole run

    @property
    def findings(self) -> list[str]:
        """Name what breaks a guarantee."""
        return [self.failed] * bool(self.failed) + (self.verdict.findings if self.verdict else [])

    @property
    def missed(self) -> list[str]:
        """Name what breaks no guarantee, but misses a goal."""
        if self.skipped or self.failed:
            return []
        found = []
        if self.rate_back is None or self.rate_back > self.limit:
            found.append(f"the rate was not back within {self.limit:.0f} s")
        if self.backlog_gone is None:
            found.append("the backlog did not go away")
        if self.after < ENOUGH * self.before:
            found.append(f"only {self.after / max(self.before, 0.1):.0%} of the rate afterwards")
        return found

    @classmethod
    def of(cls, fault: Fault) -> Result:
        return cls(name=fault.name, what=fault.what, limit=fault.limit, counts_from=fault.counts_from.value)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"findings": self.findings, "missed": self.missed}

    def row(self) -> list[str]:
        if self.skipped or self.verdict is None:
            return [self.name, *[""] * (len(HEADER) - 2), f"not tried: {self.skipped or self.failed}"]
        goal = "; ".join([*self.findings, *self.missed]) or "met"
        figures = [f"{value:.0f}" for value in (self.lasted, self.before, self.during, self.after)]
        waits = [_seconds(self.rate_back), _seconds(self.backlog_gone)]
        counts = (self.verdict.lost, self.verdict.repeated, self.verdict.inverted, self.verdict.sent_again)
        return [self.name, *figures, *waits, *map(str, counts), goal]


def table(results: list[Result]) -> str:
    """Lay the results out as a table in Markdown."""
    rows = [list(HEADER), ["---"] * len(HEADER), *(result.row() for result in results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"
