"""Which declarations of sagas are wrong, as far as only a loaded project can show?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import get_type_hints

import msgspec
from django.conf import settings

from django_eventbus.conf import BusConfig
from django_eventbus.events.inspection import Problem

from .correlation import usual_fields
from .declaration import SagaDeclaration
from .state import state_problem
from .transitions import stage_name


def find_problems(sagas: Iterable[SagaDeclaration], configs: Iterable[BusConfig]) -> list[Problem]:
    """Return every problem of these sagas on these buses; needs ready apps."""
    known, databases = list(sagas), {config.database for config in configs}
    found = [problem for saga in known for rule in _RULES for problem in rule(saga)]
    return found + [problem for saga in known for problem in _database(saga, databases)]


def _correlation(saga: SagaDeclaration) -> Iterator[Problem]:
    for event, route in saga.routes.items():
        if route.correlation.source is None:
            usual = " or ".join(map(repr, usual_fields(saga.cls.__name__)))
            yield Problem(
                id="E070",
                message=f"Saga {saga.name}: {event.__qualname__} does not say which instance it is for.",
                hint=f"Give correlate='order_id', a tuple of names or a callable; or name a field {usual}.",
                obj=saga.cls,
            )


def _state(saga: SagaDeclaration) -> Iterator[Problem]:
    if problem := state_problem(saga.state):
        yield Problem(
            id="E071",
            message=f"Saga {saga.name}: the state {saga.state.cls.__qualname__} cannot be kept: {problem}.",
            hint="Use a dataclass whose fields JSON can tell apart, or a model that inherits SagaModel.",
            obj=saga.cls,
        )


def _stages(saga: SagaDeclaration) -> Iterator[Problem]:
    if saga.transitions is None or saga.state.is_model or state_problem(saga.state):
        return
    kind = get_type_hints(saga.state.cls, include_extras=True)[saga.transitions.field]
    for stage in saga.transitions.stages():
        try:
            kept = msgspec.json.decode(msgspec.json.encode(stage), type=kind)
        except (msgspec.MsgspecError, TypeError):
            kept = None
        if kept != stage:
            yield Problem(
                id="E072",
                message=f"Saga {saga.name}: transitions name the stage {stage_name(stage)!r}, which the field "
                f"{saga.transitions.field!r} of {saga.state.cls.__qualname__} cannot hold.",
                hint="Correct the stage, or the type of the field.",
                obj=saga.cls,
            )


def _unreached(saga: SagaDeclaration) -> Iterator[Problem]:
    if saga.transitions is None:
        return
    reached = {line.target for line in saga.transitions.lines}
    for stage in {line.source for line in saga.transitions.lines if line.source is not None} - reached:
        yield Problem(
            id="W070",
            message=f"Saga {saga.name}: no transition leads to the stage {stage_name(stage)!r}.",
            hint="Add the line that leads there, or remove those that leave it.",
            obj=saga.cls,
        )


def _database(saga: SagaDeclaration, databases: Collection[str]) -> Iterator[Problem]:
    # An alias that does not exist at all is said of the saga's handler.
    if saga.using in settings.DATABASES and databases and saga.using not in databases:
        yield Problem(
            id="E073",
            message=f"Saga {saga.name}: using={saga.using!r} is the DATABASE of no bus, so that nothing it publishes "
            f"there would be sent, and no timeout would come.",
            hint=f"Leave using= out, or name the database of a bus: {', '.join(map(repr, sorted(databases)))}.",
            obj=saga.cls,
        )


_RULES: tuple[Callable[[SagaDeclaration], Iterator[Problem]], ...] = (_correlation, _state, _stages, _unreached)
