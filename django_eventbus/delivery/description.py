"""What is wired in this project: events, topics, keys, handlers, groups and policies as they really are?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from django_eventbus.conf import BusConfig
from django_eventbus.events.contract import Dispatch, EventContract
from django_eventbus.events.naming import local_topic_of, topic_of
from django_eventbus.events.registry import events

from .groups import HandlerGroup, form_groups, group_name
from .handler import Handler
from .retry import RetryPolicy
from .translation import name_of, translators


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDescription:
    """Show a retry policy."""

    max_attempts: int
    delays: tuple[float, ...]  # seconds before each repetition
    jitter: float
    never: tuple[str, ...]
    only: tuple[str, ...] | None
    is_own: bool  # False: the bus's RETRY


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDescription:
    """Show one event on one bus."""

    bus: str
    name: str
    version: str
    declared_as: str  # module and class
    is_external: bool
    dispatch: str | None  # of a domain event; None: it travels
    topic: str  # of a queued domain event its place in the local queue; empty where it is never stored
    key: str  # where the key comes from
    deprecated: str | None
    handlers: tuple[str, ...]  # those that take this version
    translators: tuple[str, ...]  # functions that tell other services of a domain event


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerDescription:
    """Show one handler on one bus."""

    bus: str
    name: str
    aliases: tuple[str, ...]
    declared_as: str
    group: str
    events: tuple[str, ...]
    versions: tuple[str, ...] | None
    ordered: bool
    on_dead_letter: str
    atomic: bool
    database: str
    is_async: bool
    batch: int | None
    timeout: float | None
    idempotent: bool
    dedupe_key: bool
    handle_in: str | None  # None: in the consumer
    state: str | None  # model and key of the row that it takes
    retry: PolicyDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDescription:
    """Show one consumer group on one bus."""

    bus: str
    name: str
    topics: tuple[str, ...]
    handlers: tuple[str, ...]
    retired_handlers: tuple[str, ...]


Entry = EventDescription | HandlerDescription | GroupDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Show everything that is declared."""

    events: tuple[EventDescription, ...]
    handlers: tuple[HandlerDescription, ...]
    groups: tuple[GroupDescription, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON needs it."""
        return dataclasses.asdict(self)

    def about(self, name: str) -> Description:
        """Keep what bears this name: an event or its class, a topic, a handler or its function, or a group."""
        return Description(
            events=tuple(e for e in self.events if name in _names(e)),
            handlers=tuple(h for h in self.handlers if name in _names(h)),
            groups=tuple(g for g in self.groups if name in _names(g)),
        )

    def likely(self, name: str) -> list[str]:
        """Return the known names that were probably meant."""
        entries: tuple[Entry, ...] = (*self.events, *self.handlers, *self.groups)
        known = {n for entry in entries for n in _names(entry)}
        return get_close_matches(name, sorted(known), n=3)

    @property
    def is_empty(self) -> bool:
        return not (self.events or self.handlers or self.groups)


def describe(handlers: Iterable[Handler], configs: Sequence[BusConfig]) -> Description:
    """Describe what is declared, for each of these buses; needs ready apps."""
    known = tuple(handlers)
    groups = {config.alias: form_groups(known, config) for config in configs}
    return Description(
        events=tuple(_event(contract, config, known) for config in configs for contract in events.all()),
        handlers=tuple(_handler(handler, config) for config in configs for handler in known),
        groups=tuple(_group(group, config) for config in configs for group in groups[config.alias].values()),
    )


def _event(contract: EventContract, config: BusConfig, handlers: Iterable[Handler]) -> EventDescription:
    takers = (h for h in handlers if h.event_class(contract.name, contract.version) is not None)
    return EventDescription(
        bus=config.alias,
        name=contract.name,
        version=contract.version,
        declared_as=_path(contract.cls),
        is_external=contract.is_external,
        dispatch=contract.dispatch,
        topic=_topic(contract, config),
        key=contract.key.describe(config),
        deprecated=contract.deprecated,
        handlers=tuple(handler.name for handler in takers),
        translators=tuple(map(name_of, translators.of(contract.cls))),
    )


def _topic(contract: EventContract, config: BusConfig) -> str:
    match contract.dispatch:
        case None:
            return topic_of(contract, config)
        case Dispatch.QUEUED:
            return local_topic_of(contract)
        case Dispatch.INLINE | Dispatch.ON_COMMIT:
            return ""


def _handler(handler: Handler, config: BusConfig) -> HandlerDescription:
    contracts = [events.contract_of(cls) for cls in handler.events]
    return HandlerDescription(
        bus=config.alias,
        name=handler.name,
        aliases=handler.aliases,
        declared_as=_path(getattr(handler.function, "__wrapped__", handler.function)),
        group=group_name(handler, config),
        events=tuple(f"{contract.name} {contract.version}".rstrip() for contract in contracts),
        versions=None if handler.versions is None else tuple(sorted(handler.versions)),
        ordered=handler.ordered,
        on_dead_letter=handler.on_dead_letter,
        atomic=handler.is_atomic,
        database=handler.using or config.database,
        is_async=handler.is_async,
        batch=handler.batch,
        timeout=None if handler.timeout is None else handler.timeout.total_seconds(),
        idempotent=handler.is_idempotent,
        dedupe_key=handler.dedupe_key is not None,
        handle_in=handler.handle_in,
        state=None if handler.state is None else f"{_path(handler.state.model)} by {handler.state.described_as}",
        retry=_policy(handler, config),
    )


def _policy(handler: Handler, config: BusConfig) -> PolicyDescription:
    policy = handler.retry or RetryPolicy.from_config(config.retry)
    return PolicyDescription(
        max_attempts=policy.max_attempts,
        delays=tuple(policy.delay_after(attempt).total_seconds() for attempt in range(1, policy.max_attempts)),
        jitter=policy.jitter,
        never=tuple(map(_path, policy.never)),
        only=None if policy.only is None else tuple(map(_path, policy.only)),
        is_own=handler.retry is not None,
    )


def _group(group: HandlerGroup, config: BusConfig) -> GroupDescription:
    return GroupDescription(
        bus=config.alias,
        name=group.name,
        topics=group.topics,
        handlers=group.handler_names,
        retired_handlers=tuple(sorted(group.retired)),
    )


def _names(entry: Entry) -> set[str]:
    match entry:
        case EventDescription():
            return {entry.name, entry.topic, entry.declared_as, entry.declared_as.rpartition(".")[2]}
        case HandlerDescription():
            return {entry.name, *entry.aliases, entry.declared_as, entry.declared_as.rpartition(".")[2]}
        case GroupDescription():
            return {entry.name, *entry.topics}


def _path(named: Any) -> str:
    module = getattr(named, "__module__", "")
    name = getattr(named, "__qualname__", None) or type(named).__qualname__
    return name if module == "builtins" else f"{module}.{name}"
