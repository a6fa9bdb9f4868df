"""How does a saga look as a Mermaid state diagram?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from .declaration import SagaDeclaration
from .transitions import Transition, Transitions, stage_name

BORDER = "[*]"  # Mermaid's start and end


def draw(declaration: SagaDeclaration, *, current: object = None) -> str:
    """Return the diagram: of the stages where there are transitions, else of the methods, as far as their code shows.

    `current` is the stage, or the status, to mark.
    """
    if declaration.transitions is not None:
        lines = [*_stages(declaration.transitions), *_edges(declaration.transitions)]
    else:
        lines = list(_lifecycle(declaration))
    if current is not None and any(_id(current) in line.split() for line in lines):
        lines += ["classDef current stroke-width:4px", f"class {_id(current)} current"]
    return "\n".join(["stateDiagram-v2", *(f"    {line}" for line in lines)])


def _stages(transitions: Transitions) -> Iterator[str]:
    for stage in transitions.stages():
        if _id(stage) != stage_name(stage):
            yield f'state "{stage_name(stage)}" as {_id(stage)}'


def _edges(transitions: Transitions) -> Iterator[str]:
    sources = {line.source for line in transitions.lines}
    for line in transitions.lines:
        yield f"{_id(line.source)} --> {_id(line.target)} : {_label(line)}"
    for stage in transitions.stages():
        if stage not in sources:
            yield f"{_id(stage)} --> {BORDER}"


def _lifecycle(declaration: SagaDeclaration) -> Iterator[str]:
    steps = [(route.continues, cls.__name__) for cls, route in declaration.routes.items() if route.continues]
    steps += [(method, f"timeout {name}") for name, method in declaration.timeouts.items()]
    called = {method: _called(declaration.cls, method) for method, _ in steps}
    undoing = "compensating" if any({"compensate", "wait"} <= names for names in called.values()) else "compensated"
    for cls, route in declaration.routes.items():
        if route.starts:
            yield f"{BORDER} --> running : {cls.__name__}"
    for method, label in steps:
        ends = [end for call, end in (("complete", "completed"), ("compensate", undoing)) if call in called[method]]
        for target in ends or ["running"]:
            yield f"running --> {target} : {label}"
        if "complete" in called[method] and undoing == "compensating":
            yield f"compensating --> compensated : {label}"
    for call, end in (("complete", "completed"), ("compensate", "compensated")):
        if any(call in names for names in called.values()):
            yield f"{end} --> {BORDER}"


def _called(cls: type[Any], method: str, seen: Iterable[str] = ()) -> set[str]:
    """Return the names that a method's code mentions, and those that methods of the class called by it mention."""
    code = getattr(getattr(cls, method, None), "__code__", None)
    if code is None or method in seen or method not in {name for part in cls.__mro__[:-1] for name in vars(part)}:
        return set()
    keywords = {word for constant in code.co_consts if isinstance(constant, tuple) for word in constant}
    names = {*code.co_names, *(keywords & {"wait"})}
    return names.union(*(_called(cls, name, (*seen, method)) for name in names - {"compensate"}))


def _label(line: Transition) -> str:
    return f"timeout {line.trigger}" if isinstance(line.trigger, str) else line.trigger.__name__


def _id(stage: object) -> str:
    return BORDER if stage is None else re.sub(r"\W", "_", stage_name(stage))
