"""Did every trip end, each step of it once, on the state that the step before left, with timeouts as they were set?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

FINAL = ("completed", "compensated")
PARTS = ("flight", "hotel", "car")
EARLY = 0.05  # seconds by which clocks may differ


class Step(NamedTuple):
    """What one step of a trip wrote; number 0: it came after the end."""

    trip: str
    number: int
    what: str
    message_id: str
    status: str  # after it
    asked: list[str]
    undone: list[str]
    armed: dict[str, float]
    now: float


class Effect(NamedTuple):
    """What a service wrote."""

    trip: str
    place: str  # part/number
    kind: str
    message_id: str


class Remembered(NamedTuple):
    """One line of the product's own history."""

    trip: str
    version: int
    message_id: str
    status: str
    steps: int  # in the state
    outgoing: int
    armed: frozenset[str]


class Instance(NamedTuple):
    """One row of the product's own table."""

    version: int
    status: str
    steps: int  # in the state
    timeouts: int


@dataclass(kw_only=True)
class Verdict:
    """What is wrong; the lists name what, the counts say how much there was."""

    started: int
    ended: dict[str, int] = field(default_factory=dict)
    steps: int = 0
    effects: int = 0
    fired: int = 0  # timeouts
    late: int = 0  # answers after the end
    unfinished: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # what was asked of a service, and not done
    repeated: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    overwritten: list[str] = field(default_factory=list)  # steps that did not see the one before
    timeouts: list[str] = field(default_factory=list)  # fired early, unarmed or after the end
    unbalanced: list[str] = field(default_factory=list)  # booked and not undone, or the reverse
    history: list[str] = field(default_factory=list)  # where it tells something else
    left: list[str] = field(default_factory=list)  # rows that wait for ever

    @property
    def is_clean(self) -> bool:
        return not any(getattr(self, each.name) for each in fields(self) if each.type == "list[str]")

    @property
    def is_beyond_repair(self) -> bool:
        """Say whether something is wrong that no waiting puts right."""
        return bool(self.repeated or self.overwritten or self.timeouts)


def judge(
    started: Iterable[str],
    steps: Sequence[Step],
    effects: Sequence[Effect],
    *,
    instances: Mapping[str, Instance],
    history: Sequence[Remembered],
) -> Verdict:
    """Compare what steps asked for with what services did, and both with what the product remembers."""
    trips = set(started)
    taken = defaultdict(list)
    for step in steps:
        taken[step.trip].append(step)
    verdict = Verdict(started=len(trips), steps=len(steps), effects=len(effects))
    verdict.fired = sum(step.what.startswith("timeout") for step in steps)
    verdict.late = sum(step.number == 0 for step in steps)
    verdict.invented += [f"trip {trip}" for trip in (taken.keys() | instances.keys()) - trips]
    _judge_messages(verdict, steps, effects)
    for trip in sorted(trips):
        _judge_steps(verdict, trip, taken[trip])
    _judge_balance(verdict, taken, effects)
    _judge_history(verdict, taken, instances, history)
    verdict.ended = dict(Counter(found.status for found in instances.values()))
    return verdict


def _judge_messages(verdict: Verdict, steps: Sequence[Step], effects: Sequence[Effect]) -> None:
    """Each message has one effect on a saga, and each request one on a service."""
    counts = Counter(step.message_id for step in steps) + Counter(f"{e.kind} {e.message_id}" for e in effects)
    verdict.repeated += [message for message, count in counts.items() if count > 1]
    asked = Counter(f"{step.trip} {place}" for step in steps for place in step.asked)
    undone = Counter(f"{step.trip} {place}" for step in steps for place in step.undone)
    done = Counter(f"{e.trip} {e.place}" for e in effects if e.kind != "undone")
    taken_back = Counter(f"{e.trip} {e.place}" for e in effects if e.kind == "undone")
    for name, wanted, found in (("asked", asked, done), ("undo", undone, taken_back)):
        verdict.lost += [f"{name} {place}" for place in wanted - found]
        verdict.invented += [f"{name} {place}" for place in found - wanted]
        verdict.repeated += [f"{name} {place}" for place, count in wanted.items() if count > 1]


def _judge_steps(verdict: Verdict, trip: str, steps: Sequence[Step]) -> None:
    """Tell the trip again, step by step, and say where a step does not follow from those before it."""
    armed: dict[str, float] = {}
    status, number = "", 0
    for step in steps:
        if step.number == 0:
            if status not in FINAL:
                verdict.overwritten.append(f"{trip} {step.what} before its end")
            continue
        number += 1
        told = f"{trip} {step.number} {step.what}"
        if step.number != number:
            verdict.overwritten.append(f"{told}, not {number}")
        if status in FINAL:
            verdict.timeouts.append(f"{told} after the end")
        if step.what.startswith("timeout"):
            due = armed.pop(step.what.removeprefix("timeout "), None)
            if due is None or step.now < due - EARLY:
                verdict.timeouts.append(f"{told} " + ("was not armed" if due is None else f"{due - step.now} s early"))
        if step.status != status and status:
            armed.clear()
        armed.update({} if step.status in FINAL else step.armed)
        status = step.status
    if status not in FINAL:
        verdict.unfinished.append(f"{trip} {status or 'never began'}, armed {armed}")


def _judge_balance(verdict: Verdict, taken: Mapping[str, Sequence[Step]], effects: Iterable[Effect]) -> None:
    """A completed trip has each part once, and a compensated one nothing."""
    parts: Counter[tuple[str, str]] = Counter()
    for effect in effects:
        part = effect.place.partition("/")[0]
        parts[effect.trip, part] += {"booked": 1, "undone": -1}.get(effect.kind, 0)
    for trip, steps in taken.items():
        is_whole = any(step.status == "completed" for step in steps)
        for part in PARTS:
            if parts[trip, part] != is_whole:
                verdict.unbalanced.append(f"{trip} {steps[-1].status}: {part} {parts[trip, part]}")


def _judge_history(
    verdict: Verdict,
    taken: Mapping[str, Sequence[Step]],
    instances: Mapping[str, Instance],
    history: Iterable[Remembered],
) -> None:
    lines = defaultdict(list)
    for line in history:
        lines[line.trip].append(line)
    for trip, steps in taken.items():
        numbered = [step for step in steps if step.number]
        expected = [
            Remembered(trip, n, s.message_id, s.status, s.number, len(s.asked) + len(s.undone), frozenset(s.armed))
            for n, s in enumerate(numbered, 1)
        ]
        if lines[trip] != expected:
            verdict.history.append(f"{trip}: {_difference(lines[trip], expected)}")
        found = instances.get(trip)
        last = numbered[-1] if numbered else None
        if last and (found is None or found[:3] != (last.number, last.status, last.number)):
            verdict.history.append(f"{trip}: instance {found}, not {last.number} {last.status}")
        if found is not None and found.status in FINAL and found.timeouts:
            verdict.timeouts.append(f"{trip} has ended with {found.timeouts} timeouts armed")


def _difference(lines: Sequence[Remembered], expected: Sequence[Remembered]) -> str:
    for line, wanted in zip(lines, expected, strict=False):
        if line != wanted:
            return f"{line}, not {wanted}"
    return f"{len(lines)} lines, not {len(expected)}"
