"""How is every state found that any order of steps can lead to, and the shortest way to each?"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random

from tests.proof.model.handling import HANDLING
from tests.proof.model.invariants import broken, is_goal
from tests.proof.model.sending import SENDING
from tests.proof.model.state import Bounds, State, beginning
from tests.proof.model.steps import Label, Transition

PROTOCOL: Mapping[str, Transition] = {one.name: one for one in (*SENDING, *HANDLING)}

Way = list[tuple[Label, State]]


@dataclass(kw_only=True)
class Explored:
    """What an exploration found."""

    bounds: Bounds
    states: int = 0
    steps: int = 0
    goals: int = 0
    taken: Counter[str] = field(default_factory=Counter)  # how often each transition was
    violation: str = ""
    way: Way = field(default_factory=list)  # to the violation


class Explorer:
    """Walk breadth-first through all states within bounds, and remember whence each was found."""

    def __init__(self, bounds: Bounds, protocol: Mapping[str, Transition] = PROTOCOL) -> None:
        self.start = beginning(bounds)
        self.explored = Explored(bounds=bounds)
        self._protocol = tuple(protocol.values())
        self._numbers: dict[State, int] = {self.start: 0}
        self._states: list[State] = [self.start]
        self._whence: list[tuple[int, Label | None]] = [(0, None)]
        self._back: list[list[int]] = [[]]  # predecessors by steps that are no faults
        self._goals: list[int] = []

    def run(self) -> Explored:
        """Explore until a guarantee is broken or nothing new is left; then see whether every state can end well."""
        place = 0
        while place < len(self._states):
            state = self._states[place]
            if wrong := next(broken(state), ""):
                return self._conclude(wrong, place)
            if is_goal(state):
                self._goals.append(place)
            for transition in self._protocol:
                for label, successor in transition.step(state):
                    self._meet(place, label, successor, is_fault=transition.is_fault)
            place += 1
        return self._conclude(*self._stuck())

    def way_to(self, place: int) -> Way:
        """Return the shortest way to a state."""
        way: Way = []
        while place:
            before, label = self._whence[place]
            assert label is not None
            way.append((label, self._states[place]))
            place = before
        return way[::-1]

    def ways(self) -> Iterator[Way]:
        """Yield a shortest way for each kind of step that was taken, as far as it leads to a state that ends well."""
        met: set[tuple[str, str]] = set()
        for place, (_, label) in enumerate(self._whence):
            if label is not None and (kind := (label.name, label.detail.partition(" ")[0])) not in met:
                met.add(kind)
                yield self.way_to(place)

    def _meet(self, place: int, label: Label, successor: State, *, is_fault: bool) -> None:
        self.explored.steps += 1
        self.explored.taken[label.name] += 1
        number = self._numbers.setdefault(successor, len(self._states))
        if number == len(self._states):
            self._states.append(successor)
            self._whence.append((place, label))
            self._back.append([])
        if not is_fault:
            self._back[number].append(place)

    def _stuck(self) -> tuple[str, int]:
        ends_well = bytearray(len(self._states))
        queue = deque(self._goals)
        for place in queue:
            ends_well[place] = 1
        while queue:
            for before in self._back[queue.popleft()]:
                if not ends_well[before]:
                    ends_well[before] = 1
                    queue.append(before)
        stuck = ends_well.find(0)
        return ("", 0) if stuck < 0 else ("G7: without a further fault, this does not end", stuck)

    def _conclude(self, wrong: str, place: int) -> Explored:
        self.explored.states, self.explored.goals = len(self._states), len(self._goals)
        self.explored.violation = wrong
        self.explored.way = self.way_to(place) if wrong else []
        return self.explored


def wander(bounds: Bounds, *, steps: int, random: Random) -> Way:
    """Return a random walk; it ends where nothing more can be done."""
    state = beginning(bounds)
    way: Way = []
    for _ in range(steps):
        successors = [pair for one in PROTOCOL.values() for pair in one.step(state)]
        if not successors:
            break
        label, state = random.choice(successors)
        way.append((label, state))
    return way
