"""How is one step of the protocol written down, and the code that it stands for?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.proof.model.state import State


class Label(NamedTuple):
    """Name one step of one actor."""

    name: str
    actor: int = 0
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name}({', '.join(filter(None, (str(self.actor), self.detail)))})"


Successors = Iterator[tuple[Label, State]]
Step = Callable[[State], Successors]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Be one kind of step."""

    name: str
    step: Step
    stands_for: tuple[str, ...]  # dotted paths of the code; none for what the world does
    is_fault: bool


def transition(*stands_for: str, is_fault: bool = False) -> Callable[[Step], Transition]:
    """Declare a step, and which code does it."""

    def declare(step: Step) -> Transition:
        name = getattr(step, "__name__", "")
        return Transition(name=name, step=step, stands_for=stands_for, is_fault=is_fault)

    return declare
