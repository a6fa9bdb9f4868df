"""Is every record accounted for, and did each become what its bytes demand?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.proof.fuzz.oracle import Fate, Judgement, judge
from tests.proof.fuzz.reading import Dead, Effect, Found
from tests.proof.fuzz.records import MARK

MOST_FINDINGS = 40  # told in full; the others are counted
Elsewhere = Callable[[str, str, str], int]  # handler, source, message id -> effects and dead letters at any place


@dataclass(kw_only=True)
class Verdict:
    """What became of the records, and everything that is wrong."""

    records: int = 0
    handled: int = 0
    skipped: int = 0
    dead: int = 0
    repeated: int = 0  # had the id of another one, which was handled
    left_open: int = 0  # of these, what no rule decides
    unclear: int = 0  # of what counts as skipped: perhaps repeated
    outcomes: dict[str, dict[str, int]] = field(default_factory=dict)  # by what was done to them
    wrong: int = 0
    findings: list[str] = field(default_factory=list)

    def find(self, text: str) -> None:
        self.wrong += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(text)

    def blame(self, texts: list[str]) -> None:
        """Put what concerns the whole run in front of what concerns one record."""
        self.wrong += len(texts)
        self.findings[:0] = texts[:MOST_FINDINGS]


class Judge:
    """Take one record after the other."""

    def __init__(self, *, keeps_unknown: bool, elsewhere: Elsewhere) -> None:
        self.verdict = Verdict()
        self._keeps_unknown = keeps_unknown
        self._elsewhere = elsewhere

    def take(self, found: Found) -> None:
        """Judge a record by its bytes, and note what became of it."""
        record, verdict = found.record, self.verdict
        must = judge(record.headers, record.value, keeps_unknown=self._keeps_unknown)
        outcome, problems = self._compare(must, found)
        verdict.records += 1
        verdict.left_open += must.fate is Fate.OPEN
        setattr(verdict, outcome, getattr(verdict, outcome) + 1)
        done_to_it = _mark(record.headers)
        counts = verdict.outcomes.setdefault(done_to_it, {})
        counts[outcome] = counts.get(outcome, 0) + 1
        for problem in problems:
            verdict.find(
                f"{record.no}/{record.position} ({done_to_it}): {problem}; it must be {must.fate.value} ({must.why}); "
                f"headers={record.headers!r:.600} value={record.value!r:.300}"
            )

    def _compare(self, must: Judgement, found: Found) -> tuple[str, list[str]]:
        problems = [f"dead letter of {dead.handler!r} has other bytes" for dead in _altered(found)]
        fate = must.fate
        if fate is Fate.OPEN:
            fate = Fate.DEAD if any(not dead.handler for dead in found.dead) else Fate.HANDLED
            if not found.effects and not found.dead and not found.inbox:
                if must.handlers and all(self._is_repeated(handler, must) for handler in must.handlers):
                    return "repeated", problems
                self.verdict.unclear += not must.handlers
                return "skipped", ["nobody has kept it"] if must.handlers else problems
        match fate:
            case Fate.HANDLED:
                return self._handled(must, found, problems)
            case Fate.DEAD:
                return "dead", problems + _buried(found)
            case _:
                if found.effects or found.dead or found.inbox:
                    problems.append(f"somebody took it: {_told(found)}")
                return "skipped", problems

    def _handled(self, must: Judgement, found: Found, problems: list[str]) -> tuple[str, list[str]]:
        if not must.handlers:  # left open before its handlers were known
            return "handled", problems
        repeated = 0
        by_handler: dict[str, list[Effect]] = {}
        for effect in found.effects:
            by_handler.setdefault(effect.handler, []).append(effect)
        rejections = {dead.handler: dead for dead in found.dead}
        for handler in must.handlers:
            effects, rejection = by_handler.pop(handler, []), rejections.pop(handler, None)
            if found.inbox[handler] == 0 and not effects and self._is_repeated(handler, must):
                repeated += 1
            elif found.inbox[handler] != 1:
                problems.append(f"{found.inbox[handler]} rows in the inbox of {handler}")
            elif handler in must.rejected or (must.fate is Fate.OPEN and rejection is not None):
                if effects or rejection is None or rejection.reason != "rejected":
                    problems.append(f"{handler} rejects it, but: {_told(found)}")
            elif len(effects) != 1 or rejection is not None:
                problems.append(f"{handler} should have handled it: {_told(found)}")
            elif must.digest is not None:
                problems += _misread(effects[0], must)
        if by_handler or rejections or set(found.inbox) - set(must.handlers):
            problems.append(f"others took it too: {_told(found)}")
        return ("repeated" if repeated == len(must.handlers) else "handled"), problems

    def _is_repeated(self, handler: str, must: Judgement) -> bool:
        """Say whether a record of the same id was taken instead."""
        return bool(must.message_id) and self._elsewhere(handler, must.source, must.message_id) == 1


def _buried(found: Found) -> list[str]:
    letters = [dead for dead in found.dead if not dead.handler]
    if len(letters) != 1 or len(found.dead) != 1 or found.effects or set(found.inbox) - {""}:
        return [f"one dead letter was to be made of it: {_told(found)}"]
    if letters[0].reason not in {"undecodable", "unknown_event"}:
        return [f"its dead letter has the reason {letters[0].reason}"]
    return []


def _altered(found: Found) -> list[Dead]:
    return [dead for dead in found.dead if not dead.is_exactly(found.record)]


def _misread(effect: Effect, must: Judgement) -> list[str]:
    if (effect.digest, effect.source, effect.message_id) == (must.digest, must.source, must.message_id):
        return []
    return [f"{effect.handler} was given something else: {effect}"]


def _told(found: Found) -> str:
    dead = [(letter.handler, letter.reason, letter.error[:100]) for letter in found.dead]
    return f"effects of {[effect.handler for effect in found.effects]}, inbox {dict(found.inbox)}, dead {dead}"


def _mark(headers: list[tuple[str, bytes | None]]) -> str:
    marks = [value for name, value in headers if name == MARK and value]
    return (marks[-1].decode().partition(" ")[2] or "untouched").partition("+")[0] if marks else "unmarked"
