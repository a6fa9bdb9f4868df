"""How are the stages of a saga, and the steps that an instance took, put before a person?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from django_eventbus.models import SagaHistory, SagaState
from django_eventbus.sagas.declaration import SagaDeclaration
from django_eventbus.sagas.diagram import BORDER, draw

from .facts import NOTHING, badge, exact, moment, stacked, table

LONGEST_VALUE = 120  # characters of a value in the timeline; the state below has all

_ARROW = re.compile(r"(\S+) --> (\S+)(?: : (.*))?")
_NAMED = re.compile(r'state "(.*)" as (\S+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """Be one way from stage to stage."""

    source: str
    target: str
    label: str


def diagram(declaration: SagaDeclaration, *, current: str) -> SafeString:
    """Show each stage with the ways that lead on from it, the current one marked, and the Mermaid text to copy."""
    text = draw(declaration, current=current)
    names = {identity: name for name, identity in _NAMED.findall(text)}
    arrows = [Arrow(source=source, target=target, label=label) for source, target, label in _ARROW.findall(text)]
    stages = dict.fromkeys(place for arrow in arrows for place in (arrow.source, arrow.target) if place != BORDER)
    drawn = [_start(arrows, names), *(_stage(stage, arrows, names, current=current) for stage in stages)]
    boxes = format_html_join("", "{}", ((box,) for box in drawn))
    return format_html(
        '<div><ol class="eventbus-diagram">{}</ol><details><summary>Mermaid</summary>'
        '<pre class="eventbus-text">{}</pre></details></div>',
        boxes,
        text,
    )


def current_stage(declaration: SagaDeclaration, row: SagaState, state: Mapping[str, Any]) -> str:
    """Return where an instance stands: its stage where the saga declares some, else its status."""
    if declaration.transitions is None:
        return row.status
    return str(state.get(declaration.transitions.field, ""))


def timeline(steps: Iterable[SagaHistory], *, shows_content: bool) -> SafeString:
    """Show the steps of an instance, the first one first: what came, what changed, and what it led to."""
    rows = (_line(step, before, shows_content=shows_content) for step, before in _with_predecessors(steps))
    head = ("Step", "When", "Message", "State", "Published", "Timeouts", "By")
    return table(head, rows, empty="no step is kept")


def indented(state: str | None) -> str:
    """Return the JSON of a state as people read it."""
    try:
        return json.dumps(json.loads(state or "null"), indent=2, ensure_ascii=False)
    except ValueError:
        return str(state)


def fields_of(state: str | None) -> dict[str, Any]:
    """Return the fields of a stored state; empty where it holds none."""
    try:
        found = json.loads(state or "null")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _start(arrows: Iterable[Arrow], names: Mapping[str, str]) -> SafeString:
    return _box("start", "", [arrow for arrow in arrows if arrow.source == BORDER], names)


def _stage(stage: str, arrows: Iterable[Arrow], names: Mapping[str, str], *, current: str) -> SafeString:
    name = names.get(stage, stage)
    is_current = current in (name, stage)
    leading = [arrow for arrow in arrows if arrow.source == stage]
    return _box(name, "eventbus-current" if is_current else "", leading, names)


def _box(name: str, mark: str, leading: Iterable[Arrow], names: Mapping[str, str]) -> SafeString:
    here = SafeString(' <span class="eventbus-quiet">it stands here</span>') if mark else ""
    ways = (
        (arrow.label, "end" if arrow.target == BORDER else names.get(arrow.target, arrow.target)) for arrow in leading
    )
    lines = format_html_join("", '<li>{} <span aria-hidden="true">&rarr;</span> <strong>{}</strong></li>', ways)
    return format_html('<li class="eventbus-stage {}"><strong>{}</strong>{}<ul>{}</ul></li>', mark, name, here, lines)


def _with_predecessors(steps: Iterable[SagaHistory]) -> Iterator[tuple[SagaHistory, SagaHistory | None]]:
    before: SagaHistory | None = None
    for step in steps:
        yield step, before
        before = step


def _line(step: SagaHistory, before: SagaHistory | None, *, shows_content: bool) -> tuple[object, ...]:
    changed: object = _changes(fields_of(before.state if before else None), fields_of(step.state))
    return (
        step.version,
        moment(step.occurred_at),
        stacked(step.message, step.method and f"{step.method}()", step.message_id),
        stacked(badge(step.status), changed if shows_content else "hidden"),
        _outgoing(step),
        _timeouts(step),
        stacked(step.actor, step.reason) if step.actor else f"attempt {step.attempt}",
    )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> SafeString:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    lines = ((name, _was(before, name), _short(after.get(name))) for name in names)
    return format_html_join("", "<div>{}: {}{}</div>", lines)


def _was(before: Mapping[str, Any], name: str) -> SafeString:
    return format_html("{} &rarr; ", _short(before[name])) if name in before else SafeString("")


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _outgoing(step: SagaHistory) -> SafeString | str:
    published = ((stacked(name, event_id),) for name, event_id in json.loads(step.outgoing))
    return format_html_join("", "{}", published) or NOTHING


def _timeouts(step: SagaHistory) -> SafeString | str:
    changes = json.loads(step.timeouts)
    told = [(f"{name} set", _at(due)) for name, due in changes.get("set", {}).items()]
    told += [(f"{name} cancelled", "") for name in changes.get("cancelled", {}) if name not in changes.get("set", {})]
    return format_html_join("", "{}", ((stacked(what, when),) for what, when in told)) or NOTHING


def _at(due: str) -> str:
    return f"for {exact(datetime.fromisoformat(due))}"
