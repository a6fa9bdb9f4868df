"""How does a saga look as a Mermaid state diagram?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .declaration import SagaDeclaration
from .transitions import Transition, Transitions, stage_name

BORDER = "[*]"  # Mermaid's start and end

_PLAIN = re.compile(r"(?!stage_)[A-Za-z_]\w*", re.ASCII)
_RESERVED = frozenset({
    "as", "choice", "class", "classdef", "click", "default", "direction", "end", "fork", "hide", "join", "note",
    "scale", "state", "style",
})  # fmt: skip


def draw(declaration: SagaDeclaration, *, current: object = None) -> str:
    """Return the diagram: of the stages where there are transitions, else of the methods, as far as their code shows.

    `current` is the stage, or the status, to mark.
    """
    ids: dict[str, str] = {}
    if declaration.transitions is not None:
        names = map(stage_name, declaration.transitions.stages())
        ids = {name: _id(name, number) for number, name in enumerate(names)}
        lines = [*_stages(ids), *_edges(declaration.transitions, ids)]
    else:
        lines = list(_lifecycle(declaration))
    marked = "" if current is None else ids.get(stage_name(current), stage_name(current))
    if any(marked in line.split() for line in lines):
        lines += ["classDef current stroke-width:4px", f"class {marked} current"]
    return "\n".join(["stateDiagram-v2", *(f"    {line}" for line in lines)])


def _id(name: str, number: int) -> str:
    is_plain = _PLAIN.fullmatch(name) is not None and name.lower() not in _RESERVED
    return name if is_plain else f"stage_{number}"


def _stages(ids: Mapping[str, str]) -> Iterator[str]:
    for name, known_as in ids.items():
        if known_as != name:
            yield f'state "{_text(name)}" as {known_as}'


def _edges(transitions: Transitions, ids: Mapping[str, str]) -> Iterator[str]:
    for line in transitions.lines:
        source = BORDER if line.source is None else ids[stage_name(line.source)]
        yield f"{source} --> {ids[stage_name(line.target)]} : {_label(line)}"
    left = {line.source for line in transitions.lines}
    for stage in transitions.stages():
        if stage not in left:
            yield f"{ids[stage_name(stage)]} --> {BORDER}"


def _lifecycle(declaration: SagaDeclaration) -> Iterator[str]:
    steps = [(route.continues, cls.__name__) for cls, route in declaration.routes.items() if route.continues]
    steps += [(method, f"timeout {_text(name)}") for name, method in declaration.timeouts.items()]
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
    return f"timeout {_text(line.trigger)}" if isinstance(line.trigger, str) else line.trigger.__name__


def _text(name: str) -> str:
    """Leave out what Mermaid would read as its own."""
    return re.sub(r'[:;#"<>{}\s]+', " ", name).strip()
