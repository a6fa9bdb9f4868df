"""How do verdicts on single rows stay in the order of their keys?"""

from __future__ import annotations

from django_eventbus.events.envelope import OutgoingRow
from django_eventbus.transports.base import Failure, FailureKind, SendResult

from .errors import name_of
from .producer import NOT_PRODUCED


class Verdicts:
    """Collect verdicts in the order of ids; once a row of a key has failed, later ones of that key wait."""

    def __init__(self, *, acked: list[int]) -> None:
        self._acked = acked
        self._failures: dict[int, Failure] = {}
        self._topics: dict[str, Failure] = {}
        self._keys: set[tuple[str, bytes | None]] = set()

    def is_settled_by_an_earlier_row(self, row: OutgoingRow) -> bool:
        """Give a row the fate of its topic, or hold it back behind its key; False if neither has failed."""
        if failure := self._topics.get(row[1]):
            self._failures[row[0]] = failure
            return True
        if (row[1], row[2]) in self._keys:
            self._failures[row[0]] = Failure(FailureKind.NOT_SENT, "NOT_PRODUCED")
            return True
        return False

    def acquit(self, row: OutgoingRow) -> None:
        """Note that the row was acknowledged when it was sent alone."""
        self._acked.append(row[0])

    def hold_back(self, row: OutgoingRow, code: int) -> None:
        """Leave an innocent row, and so its key, to the next read."""
        name = "NOT_PRODUCED" if code == NOT_PRODUCED else name_of(code)
        self._failures[row[0]] = Failure(FailureKind.NOT_SENT, name)
        self._keys.add((row[1], row[2]))

    def condemn(self, row: OutgoingRow, failure: Failure) -> None:
        """Note a verdict that stands; that of a topic holds for all its rows."""
        self._failures[row[0]] = failure
        if failure.kind is FailureKind.TOPIC:
            self._topics[row[1]] = failure
        else:
            self._keys.add((row[1], row[2]))

    def result(self) -> SendResult:
        return SendResult(acked=self._acked, failures=self._failures)
