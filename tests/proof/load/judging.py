"""Was every committed event of a load handled once, in its key's order, and is nothing left over?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

COUNTS = {
    "committed": "SELECT count(*) FROM load_published",
    "handled": "SELECT count(*) FROM load_effect",
    "lost": """SELECT count(*) FROM load_published p
        WHERE NOT EXISTS (SELECT FROM load_effect e WHERE e.event_id = p.event_id)""",
    "repeated": "SELECT count(*) - count(DISTINCT event_id) FROM load_effect",
    "invented": """SELECT count(*) FROM load_effect e
        WHERE NOT EXISTS (SELECT FROM load_published p WHERE p.event_id = e.event_id)""",
    # Effects of a key are committed one after the other, each having drawn its id when the one before was there.
    "inverted": """SELECT count(*) FROM (
        SELECT number, max(number) OVER (PARTITION BY key ORDER BY id ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW)
            AS before FROM load_effect) AS x WHERE number < before""",
    "dead": "SELECT count(*) FROM eventbus_dead_letter",
    "left": """SELECT (SELECT count(*) FROM eventbus_outbox) + (SELECT count(*) FROM eventbus_outbox_parked)
        + (SELECT count(*) FROM eventbus_retry)""",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of the events of a load."""

    committed: int
    handled: int
    lost: int
    repeated: int
    invented: int  # handled, though never committed
    inverted: int  # handled after a successor of their key
    dead: int  # dead letters: the plan has none
    left: int  # rows in outbox, parked lanes and retries when all should be done
    sent: int  # records in the topic; more than committed: repeats, which the inbox has to drop

    @property
    def findings(self) -> list[str]:
        """Name what must not be."""
        bad = ("lost", "repeated", "invented", "inverted", "dead", "left")
        found = [f"{getattr(self, name)} {name}" for name in bad if getattr(self, name)]
        return found + ([f"{self.committed - self.sent} never sent"] if self.sent < self.committed else [])

    @property
    def sent_again(self) -> int:
        return max(0, self.sent - self.committed)


def judge(count: Callable[[str], int], *, sent: int) -> Verdict:
    """Hold what was handled against what was committed; `count` returns the number that a statement selects."""
    counts = {name: count(statement) for name, statement in COUNTS.items()}
    verdict = Verdict(**counts, sent=sent)
    assert {field.name for field in fields(verdict)} == {*COUNTS, "sent"}
    return verdict
