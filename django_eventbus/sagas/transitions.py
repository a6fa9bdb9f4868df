"""Which way may a saga go from where it stands?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django_eventbus.exceptions import EventBusError

Stage = Any  # a value of the state's field: text or a member of an Enum; None before the start
Trigger = type[Any] | str  # the class of an event, or the name of a timeout
TransitionTable = Mapping[Any, Any]  # stage -> trigger -> stage, or several; looser, as checkers join mixed keys


class IllegalTransition(EventBusError):
    """A saga was led where its `transitions` do not lead; nothing of the step remains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Be one line of the table."""

    source: Stage
    trigger: Trigger
    target: Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Transitions:
    """Hold where each event and timeout may lead from each stage. What is in no line may come, and change no stage."""

    saga: str
    field: str  # of the state: it holds the stage
    lines: tuple[Transition, ...]

    def stage_of(self, state: object) -> Stage:
        """Return where a state stands; None before the start."""
        return None if state is None else getattr(state, self.field)

    def require_taken(self, trigger: Trigger, *, before: Stage) -> None:
        """Raise IllegalTransition where the trigger is governed by the table, but not expected at this stage."""
        sources = dict.fromkeys(line.source for line in self.lines if line.trigger == trigger)
        if sources and before not in sources:
            expected = ", ".join(map(stage_name, sources))
            raise IllegalTransition(
                f"{self.saga}: {trigger_name(trigger)} came at stage {stage_name(before)}, and is expected at "
                f"{expected}. Nothing was done."
            )

    def require_reached(self, trigger: Trigger, *, before: Stage, after: Stage) -> None:
        """Raise IllegalTransition where the step leads to a stage that no line names for it."""
        own = [line for line in self.lines if line.trigger == trigger]
        allowed = [line.target for line in own if line.source == before] if own else [before]
        if after not in allowed:
            raise IllegalTransition(
                f"{self.saga}: {trigger_name(trigger)} led from stage {stage_name(before)} to {stage_name(after)}; "
                f"its transitions allow {', '.join(map(stage_name, allowed))}. The step was undone."
            )

    def stages(self) -> list[Stage]:
        """Return every stage, in the order of the table."""
        return list(
            dict.fromkeys(stage for line in self.lines for stage in (line.source, line.target) if stage is not None)
        )


def read_transitions(saga: str, field: str, table: TransitionTable) -> Transitions:
    """Return the lines of a table."""
    return Transitions(saga=saga, field=field, lines=tuple(_lines(table)))


def stage_name(stage: Stage) -> str:
    """Name a stage as people and diagrams read it."""
    return "the start" if stage is None else str(getattr(stage, "value", stage))


def trigger_name(trigger: Trigger) -> str:
    """Name what leads from stage to stage."""
    return f"timeout {trigger!r}" if isinstance(trigger, str) else trigger.__name__


def _lines(table: TransitionTable) -> Iterator[Transition]:
    for source, leads in table.items():
        for trigger, targets in leads.items():
            for target in targets if isinstance(targets, tuple | list | set | frozenset) else (targets,):
                yield Transition(source=source, trigger=trigger, target=target)
