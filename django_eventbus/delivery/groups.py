"""Which handlers form one consumer group, and which of them take a message?"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.apps import apps

from django_eventbus.conf import LOCAL_TRANSPORT, BusConfig
from django_eventbus.events.contract import EventContract
from django_eventbus.events.naming import topic_of
from django_eventbus.events.registry import events
from django_eventbus.exceptions import ConfigurationError

from .handler import Handler

MOST_PLANS = 4096  # versions come from the wire: a hostile producer must not fill the memory with them


class Target(NamedTuple):
    """Name a handler and the class in which it takes the message."""

    handler: Handler
    event_class: type[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerGroup:
    """Hold all handlers of the apps that share a consumer group; no member of the group may have fewer."""

    name: str
    handlers: tuple[Handler, ...]
    topics: tuple[str, ...]  # what the group subscribes to
    retired: frozenset[str] = frozenset()  # names of handlers that are gone on purpose
    _by_event: Mapping[str, tuple[Handler, ...]] = field(repr=False)
    _by_name: Mapping[str, Handler] = field(repr=False)
    _plans: dict[tuple[str, str], tuple[Target, ...]] = field(default_factory=dict, repr=False)

    @property
    def handler_names(self) -> tuple[str, ...]:
        """Return the current names, sorted: what the partition's row records."""
        return tuple(sorted(handler.name for handler in self.handlers))

    def by_name(self, name: str) -> Handler | None:
        """Find a handler by its name or one of its former names."""
        return self._by_name.get(name)

    def knows(self, event_name: str) -> bool:
        """Say whether a handler takes any version of this event."""
        return event_name in self._by_event

    def excludes(self, event_name: str, version: str) -> bool:
        """Say whether every handler of this event left this version out on purpose, by `versions=`."""
        return not any(h.takes_version(event_name, version) for h in self._by_event.get(event_name, ()))

    def targets(self, event_name: str, version: str) -> tuple[Target, ...]:
        """Return the handlers that take an event of this version, each with its class."""
        plan = self._plans.get((event_name, version))
        if plan is None:
            found = ((h, h.event_class(event_name, version)) for h in self._by_event.get(event_name, ()))
            plan = tuple(Target(handler, cls) for handler, cls in found if cls is not None)
            if len(self._plans) < MOST_PLANS:
                self._plans[event_name, version] = plan
        return plan


def form_groups(handlers: Iterable[Handler], config: BusConfig) -> dict[str, HandlerGroup]:
    """Divide handlers into the groups of their apps; what belongs to no group of its own joins the bus's.

    Handlers of domain events alone are left out where a broker carries the events.
    """
    members: dict[str, list[Handler]] = defaultdict(list)
    for handler in handlers:
        if config.transport != LOCAL_TRANSPORT and all(map(_stays_inside, handler.events)):
            continue
        members[group_name(handler, config)].append(handler)
    return {name: _form(name, members[name], config) for name in sorted(members)}


def group_name(handler: Handler, config: BusConfig) -> str:
    """Return the group of a handler: `AppConfig.eventbus_group`, taken verbatim, else the bus's GROUP."""
    if handler.app_label is None:
        return config.group
    declared = getattr(apps.get_app_config(handler.app_label), "eventbus_group", None)
    if declared is None:
        return config.group
    if not isinstance(declared, str) or not declared:
        raise ConfigurationError(f"AppConfig {handler.app_label!r}: eventbus_group={declared!r} is no group name.")
    return declared


def retired_handlers() -> frozenset[str]:
    """Return the names that apps declare as gone on purpose, in `AppConfig.eventbus_retired_handlers`."""
    return frozenset(name for app in apps.get_app_configs() for name in getattr(app, "eventbus_retired_handlers", ()))


def _stays_inside(cls: type[Any]) -> bool:
    return events.contract_of(cls).is_domain_event


def _form(name: str, handlers: list[Handler], config: BusConfig) -> HandlerGroup:
    by_event: dict[str, list[Handler]] = defaultdict(list)
    topics: set[str] = set()
    for handler in handlers:
        contracts = [events.contract_of(cls) for cls in handler.events]
        if config.transport != LOCAL_TRANSPORT:
            # Whoever may write to a topic could send a record that calls itself a domain event.
            contracts = [contract for contract in contracts if not contract.is_domain_event]
        topics.update(topic_of(contract, config) for contract in _taken_by(handler))
        for event_name in dict.fromkeys(contract.name for contract in contracts):
            by_event[event_name].append(handler)
    return HandlerGroup(
        name=name,
        handlers=tuple(handlers),
        topics=tuple(sorted(topics)),
        retired=retired_handlers(),
        _by_event={event_name: tuple(takers) for event_name, takers in by_event.items()},
        _by_name={known: handler for handler in handlers for known in handler.names},
    )


def _taken_by(handler: Handler) -> Iterator[EventContract]:
    """Find every version that a handler can get: a topic carries one, and what is on the older topics must be read."""
    for cls in itertools.filterfalse(_stays_inside, handler.events):
        for contract in events.ancestry(events.contract_of(cls)):
            if handler.takes_version(contract.name, contract.version):
                yield contract
