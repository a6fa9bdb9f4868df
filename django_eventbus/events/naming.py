"""On which topic does an event travel?"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, cast

from django.utils.module_loading import import_string

from django_eventbus.conf import short_environment
from django_eventbus.conf.identity import WORD_START
from django_eventbus.exceptions import ConfigurationError, ContractError

from .plurals import pluralize

if TYPE_CHECKING:
    from .contract import EventContract

MAX_TOPIC_LENGTH = 249  # Kafka's limit
_LEGAL_TOPIC = re.compile(r"[a-zA-Z0-9._-]+")
_ABSOLUTE = "/"
_topics: dict[tuple[EventContract, str, str | None, str, str], str] = {}


class NamingConfig(Protocol):
    """What a namer may read of a bus; a `BusConfig` satisfies it."""

    @property
    def environment(self) -> str: ...
    @property
    def domain(self) -> str | None: ...
    @property
    def service(self) -> str: ...
    @property
    def namer(self) -> str: ...


class Namer(Protocol):
    """Turn a contract into a topic. `NAMER` names a function, a class without arguments, or an instance.

    The answer is remembered, so it may depend on nothing but the contract and what `NamingConfig` shows.
    """

    def __call__(self, contract: EventContract, config: NamingConfig, /) -> str: ...


def default_namer(contract: EventContract, config: NamingConfig) -> str:
    """Name topics `{environment}.{domain}.{scope}.{topic}.{version}`, in lower case."""
    environment = short_environment(config.environment)
    scope = "internal" if contract.internal else "public"
    return _join(
        environment, contract.resolve_domain(config.domain), scope, topic_word(contract), contract.version_segment
    )


class ServiceAggregateNamer:
    """Name topics `{service}.{aggregate}.{version}`, the aggregate in the singular unless `pluralize=True`."""

    def __call__(self, contract: EventContract, config: NamingConfig, /) -> str:
        return _join(config.service, topic_word(contract, plural_by_default=False), contract.version_segment)


class ServiceEventNamer:
    """Name topics `{prefix}.{service}.{event-name}`; the prefix is the domain where none is given."""

    def __init__(self, prefix: str | None = None) -> None:
        self._prefix = prefix

    def __call__(self, contract: EventContract, config: NamingConfig, /) -> str:
        prefix = contract.resolve_domain(config.domain) if self._prefix is None else self._prefix
        return _join(prefix, config.service, to_kebab(contract.name.rpartition(".")[2]))


def topic_of(contract: EventContract, config: NamingConfig) -> str:
    """Return the topic on which events of this contract travel.

    Needs ready apps, unless the contract names its domain. Raises ContractError where the name would be illegal.
    """
    if contract.is_domain_event:
        raise ContractError(f"{contract.label} is a domain event: it stays inside the service and has no topic.")
    at = contract, config.environment, config.domain, config.service, config.namer
    try:
        return _topics[at]
    except KeyError:
        topic = _topics[at] = _name(contract, config)
        return topic


def local_topic_of(contract: EventContract) -> str:
    """Return what stands for a topic where a domain event waits in the local queue; needs ready apps.

    One per app: domain events of an app that have the same key keep their order, whatever their class.
    """
    app = contract.app_config
    return f"local.{app.label}" if app else "local"


def _name(contract: EventContract, config: NamingConfig) -> str:
    if contract.topic is not None and contract.topic.startswith(_ABSOLUTE):
        return contract.topic.removeprefix(_ABSOLUTE)
    topic = load_namer(config.namer)(contract, config)
    if problem := topic_problem(topic):
        raise ContractError(f"{contract.label}: {problem} Change entity, topic, domain or version, or the bus's NAMER.")
    return topic


@lru_cache(maxsize=32)
def load_namer(path: str) -> Namer:
    """Import a namer by its dotted path; a class is instantiated once."""
    try:
        found = import_string(path)
    except ImportError as exc:
        raise ConfigurationError(f"NAMER: {path!r} cannot be imported ({exc}). Name a function or class.") from exc
    namer = found() if isinstance(found, type) else found
    if not callable(namer):
        raise ConfigurationError(f"NAMER: {path!r} cannot be called. It must be a function from contract and config.")
    return cast("Namer", namer)


def topic_word(contract: EventContract, *, plural_by_default: bool = True) -> str:
    """Return the topic's own segment: the plural kebab name of the entity, or `topic=` verbatim."""
    if contract.topic is not None:
        return pluralize(contract.topic) if contract.pluralize else contract.topic
    word = to_kebab(contract.entity or "")
    plural = plural_by_default if contract.pluralize is None else contract.pluralize
    return pluralize(word) if plural else word


def version_segment(version: int | str) -> str:
    """Return the last segment of a topic: v1 for 1, a text verbatim, none for ""."""
    return f"v{version}" if isinstance(version, int) else version


def topic_problem(topic: str) -> str | None:
    """Say why Kafka would refuse this topic name; None where it would not."""
    if len(topic) > MAX_TOPIC_LENGTH:
        return f"topic {topic!r} has {len(topic)} characters, Kafka allows {MAX_TOPIC_LENGTH}."
    if not _LEGAL_TOPIC.fullmatch(topic) or topic in {".", ".."}:
        return f"topic {topic!r} is no legal name: Kafka allows letters, digits, '.', '_' and '-'."
    return None


def colliding_topics(topics: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the groups of topics that differ in '.' and '_' only: Kafka refuses to create the second of them."""
    groups = defaultdict(set)
    for topic in topics:
        groups[topic.replace(".", "_")].add(topic)
    return [tuple(sorted(group)) for group in groups.values() if len(group) > 1]


def to_kebab(name: str) -> str:
    """Write a name in kebab-case, by the same boundaries as `to_snake`."""
    return re.sub(r"[-_\s]+", "-", WORD_START.sub("-", name)).lower()


def _join(*segments: str) -> str:
    return ".".join(segment for segment in segments if segment).lower()
