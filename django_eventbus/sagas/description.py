"""What does a saga take, keep and wait for, in words?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django_eventbus.events.registry import events

from .declaration import Route, SagaDeclaration
from .diagram import draw


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteDescription:
    """Show what becomes of one event."""

    event: str  # name and version
    key: str  # where the key of the instance comes from
    starts: str | None  # method
    continues: str | None  # method
    not_found: str  # method, or retry, ignore, dead_letter


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaDescription:
    """Show one saga."""

    name: str
    declared_as: str  # module and class
    state: str  # module and class
    state_version: str
    is_model: bool
    concurrency: str
    retention_days: float | None  # None: SAGA['RETENTION']
    routes: tuple[RouteDescription, ...]
    timeouts: dict[str, str]  # name -> method
    diagram: str  # Mermaid


def describe_sagas(declarations: Iterable[SagaDeclaration], *, handlers: Iterable[str]) -> tuple[SagaDescription, ...]:
    """Describe the sagas that are behind these handlers."""
    wanted = set(handlers)
    return tuple(_saga(declaration) for declaration in declarations if declaration.name in wanted)


def _saga(saga: SagaDeclaration) -> SagaDescription:
    return SagaDescription(
        name=saga.name,
        declared_as=_path(saga.cls),
        state=_path(saga.state.cls),
        state_version=saga.state.version,
        is_model=saga.state.is_model,
        concurrency=saga.concurrency,
        retention_days=None if saga.retention is None else saga.retention.total_seconds() / 86400,
        routes=tuple(map(_route, saga.routes.values())),
        timeouts=dict(saga.timeouts),
        diagram=draw(saga),
    )


def _route(route: Route) -> RouteDescription:
    contract = events.contract_of(route.event)
    return RouteDescription(
        event=f"{contract.name} {contract.version}".rstrip(),
        key=route.correlation.described_as,
        starts=route.starts,
        continues=route.continues,
        not_found=route.unmatched or route.when_unknown,
    )


def _path(cls: type[object]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
