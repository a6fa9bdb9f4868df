"""Was every committed event handled once by each handler, in its key's order, and nothing else?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.history.path.events import ECHO_EVERY
from tests.history.plan import dies

HANDLERS = ("path.ordered", "path.unordered")
ECHO = "path.echo"


class Step(NamedTuple):
    """One event of a key, in the order in which its writers committed."""

    key: str
    number: int


class Effect(NamedTuple):
    """What one run of a handler wrote."""

    handler: str
    event_id: str
    step: Step
    previous: int  # highest number of the key that the handler had before


class Dead(NamedTuple):
    """One dead letter."""

    handler: str
    event_id: str
    reason: str


@dataclass(kw_only=True)
class Verdict:
    """What is wrong; the lists name what, the counts say how much there was."""

    committed: int
    effects: int = 0
    dead: int = 0
    runs: int = 0  # of handlers, also those that were rolled back or killed
    published: int = 0  # tries, also those that were rolled back or killed
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)  # seen by a handler, but never committed
    inverted: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)  # dead letters outside of the plan, or beside an effect

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.repeated or self.invented or self.inverted or self.unexpected)


def judge(
    committed: Mapping[str, Step], effects: Sequence[Effect], dead: Collection[Dead], *, tried: Counter[str]
) -> Verdict:
    """Compare what was committed with what handlers did; `tried` counts their runs as ``handler event_id``."""
    verdict = Verdict(committed=len(committed), effects=len(effects), dead=len(dead), runs=tried.total())
    for handler in HANDLERS:
        _judge_handler(verdict, handler, committed, effects, dead)
    _judge_echoes(verdict, effects, dead)
    for run in tried:
        handler, _, event_id = run.partition(" ")
        if handler in HANDLERS and event_id not in committed:
            verdict.invented.append(f"run of {run}")
    verdict.unexpected += [f"effect without a run: {e.handler} {e.event_id}" for e in effects if not _ran(e, tried)]
    return verdict


def _judge_handler(
    verdict: Verdict, handler: str, committed: Mapping[str, Step], effects: Sequence[Effect], dead: Collection[Dead]
) -> None:
    mine = [effect for effect in effects if effect.handler == handler]
    counts = Counter(effect.event_id for effect in mine)
    buried = {letter.event_id: letter.reason for letter in dead if letter.handler == handler}
    verdict.repeated += [f"{handler} {event_id}" for event_id, count in counts.items() if count > 1]
    verdict.invented += [f"effect of {handler} {event_id}" for event_id in counts.keys() - committed.keys()]
    for event_id, step in committed.items():
        is_doomed = dies(handler, *step)
        if event_id not in counts and event_id not in buried:
            verdict.lost.append(f"{handler} {event_id} {step.key}/{step.number}")
        if event_id in buried and (event_id in counts or not is_doomed):
            verdict.unexpected.append(f"dead {handler} {event_id} {buried[event_id]}")
        if event_id in counts and is_doomed:
            verdict.unexpected.append(f"handled {handler} {event_id}, which always fails")
    if handler == "path.ordered":
        verdict.inverted += _inverted(mine)


def _judge_echoes(verdict: Verdict, effects: Sequence[Effect], dead: Collection[Dead]) -> None:
    """Every fifth step that was handled in order has made an event of its own, in the same transaction."""
    expected = {e.step for e in effects if e.handler == "path.ordered" and not e.step.number % ECHO_EVERY}
    heard = [effect for effect in effects if effect.handler == ECHO]
    counts = Counter(effect.step for effect in heard)
    buried = sum(letter.handler == ECHO for letter in dead)
    doomed = {step for step in expected if dies(ECHO, *step)}
    verdict.repeated += [f"{ECHO} {step.key}/{step.number}" for step, count in counts.items() if count > 1]
    verdict.invented += [f"{ECHO} {step.key}/{step.number}" for step in counts.keys() - expected]
    verdict.lost += [f"{ECHO} {step.key}/{step.number}" for step in expected - counts.keys() - doomed]
    if buried != len(doomed):
        verdict.unexpected.append(f"{buried} dead letters of {ECHO}, not {len(doomed)}")
    verdict.inverted += _inverted(heard)


def _inverted(effects: Sequence[Effect]) -> list[str]:
    return [
        f"{e.handler} {e.step.key}/{e.step.number} after {e.previous}" for e in effects if e.previous >= e.step.number
    ]


def _ran(effect: Effect, tried: Counter[str]) -> bool:
    return tried[f"{effect.handler} {effect.event_id}"] > 0
