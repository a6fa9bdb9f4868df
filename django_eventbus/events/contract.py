"""What does a class promise when it declares itself an event?"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from difflib import get_close_matches
from enum import StrEnum
from string import Formatter
from typing import Annotated, Any, TypedDict, TypeVar, Unpack, dataclass_transform

import msgspec
from django.apps import AppConfig, apps

from django_eventbus.exceptions import ContractError

from .codec import Codec
from .frozen import freeze
from .keys import EventKey, KeyDeclaration, PartitionKey, require_fields
from .naming import topic_problem, version_segment
from .registry import events

__all__ = ["AwareDatetime", "EventContract", "PartitionKey", "event", "external_event"]

T = TypeVar("T")
SubjectDeclaration = str | Callable[[Any], str | None] | None

AwareDatetime = Annotated[datetime, msgspec.Meta(tz=True)]

_NAME = re.compile(r"[!-~]+")
_VERSION = re.compile(r"[a-zA-Z0-9._-]*")


class Dispatch(StrEnum):
    """Say when and where the handlers of a domain event run."""

    INLINE = "inline"  # at once, in the transaction that publishes it
    ON_COMMIT = "on_commit"  # after that transaction, in the same process; lost with it
    QUEUED = "queued"  # as any other event, from the outbox through the local queue


class ContractOptions(TypedDict, total=False):
    """The parameters that `@event` and `@external_event` share."""

    version: int | str  # 1 by default; routes together with the name
    entity: str | None  # the topic is its plural, in kebab-case
    topic: str | None  # verbatim segment; with a leading slash the whole topic
    domain: str | None  # else AppConfig.eventbus_domain, the bus's DOMAIN, the app's first module segment
    internal: bool  # scope internal instead of public
    pluralize: bool | None  # None: an entity yes, a topic no
    key: KeyDeclaration  # field name, tuple of names, or callable
    subject: SubjectDeclaration  # format string over the fields, or callable
    deprecated: str | None  # what to use instead; publishing warns


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EventContract:
    """Hold what one event class declared; one per class, compared by identity."""

    cls: type[Any]
    name: str  # wire identity; CloudEvents type
    version: str = "1"  # text, as compared and sent; "" for none
    version_segment: str = "v1"  # the topic's last segment: v1 for 1, a str verbatim, none for ""
    is_external: bool = False  # another service owns it: subscribable, never publishable
    entity: str | None = None
    topic: str | None = None  # verbatim segment, or a whole topic behind a leading slash
    domain: str | None = None  # as declared; see resolve_domain()
    internal: bool = False
    pluralize: bool | None = None
    key: EventKey  # contract.key(event, config) -> text, or None for the event id
    subject: Callable[[Any], str | None] | None = None
    deprecated: str | None = None  # what to use instead
    dispatch: Dispatch | None = None  # how a domain event reaches its handlers; None: an event that travels
    must_translate: bool = False  # a domain event that only makes sense with a translation
    codec: Codec

    @property
    def is_domain_event(self) -> bool:
        """Say whether it stays inside the service: no topic, no broker."""
        return self.dispatch is not None

    @property
    def is_sent_from_here(self) -> bool:
        """Say whether this service sends it to others."""
        return not self.is_external and not self.is_domain_event

    @property
    def label(self) -> str:
        """Name class and wire identity, for messages."""
        return f"{self.cls.__module__}.{self.cls.__qualname__} ({self.name!r} version {self.version!r})"

    @property
    def app_config(self) -> AppConfig | None:
        """Return the app that holds the class; needs ready apps."""
        return apps.get_containing_app_config(self.cls.__module__)

    def resolve_domain(self, default: str | None) -> str:
        """Return the declared domain, else the app's, else `default`, else the first segment of the module path."""
        if self.domain is not None:
            return self.domain
        app = self.app_config
        declared = getattr(app, "eventbus_domain", None) or default
        return declared or (app.name if app else self.cls.__module__).partition(".")[0]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def event(name: str, /, **options: Unpack[ContractOptions]) -> Callable[[type[T]], type[T]]:
    """Declare an event that this project publishes, and make its class a frozen, slotted, keyword-only dataclass.

    Raises ContractError for what can be seen at once; `manage.py check` finds the rest.
    """
    _require_call("event", name)
    return lambda cls: _declare(cls, name, options, is_external=False)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def external_event(name: str, /, **options: Unpack[ContractOptions]) -> Callable[[type[T]], type[T]]:
    """Declare, for subscribing only, an event that another service owns; fields that nobody here reads may be left out.

    Demands `domain=` (or a topic with a leading slash): our own domain would be a silent wrong topic.
    """
    _require_call("external_event", name)
    return lambda cls: _declare(cls, name, options, is_external=True)


def _require_call(decorator: str, name: object) -> None:
    if isinstance(name, type):
        example = f'@{decorator}("domain.context.event-in-kebab", entity="...")'
        raise ContractError(f"@{decorator} on {name.__qualname__} has no name. Write {example}.")


def _declare(cls: type[T], name: str, options: ContractOptions, *, is_external: bool) -> type[T]:
    require_known(cls, options, known=ContractOptions.__annotations__.keys())
    version = options.get("version", 1)
    require_name(cls, name)
    require_version(cls, version)
    _require_place(cls, options, is_external=is_external)
    made = freeze(cls)
    require_fields(made, options.get("key"))
    contract = EventContract(
        cls=made,
        name=name,
        version=str(version),
        version_segment=version_segment(version),
        is_external=is_external,
        entity=options.get("entity"),
        topic=options.get("topic"),
        domain=options.get("domain"),
        internal=options.get("internal", False),
        pluralize=options.get("pluralize"),
        key=EventKey(made, options.get("key")),
        subject=_compile_subject(made, options.get("subject")),
        deprecated=options.get("deprecated"),
        codec=Codec(made),
    )
    contract.codec.compile_early()
    events.register(contract)
    return made


def require_known(cls: type[Any], options: Mapping[str, Any], *, known: Collection[str]) -> None:
    """Raise ContractError for a parameter that does not exist."""
    for unknown in options.keys() - set(known):
        likely = get_close_matches(unknown, known, n=1)
        hint = f" Did you mean {likely[0]!r}?" if likely else ""
        raise ContractError(f"{cls.__qualname__}: {unknown!r} is no parameter of an event.{hint}")


def require_name(cls: type[Any], name: object) -> None:
    """Raise ContractError for what can't be the name of an event."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ContractError(
            f"{cls.__qualname__}: {name!r} is no event name. Write 'domain.context.event-in-kebab', as in "
            "@event('shop.orders.order-placed')."
        )


def require_version(cls: type[Any], version: object) -> None:
    """Raise ContractError for what can't be the version of an event."""
    is_number = isinstance(version, int) and not isinstance(version, bool) and version >= 0
    if not is_number and not (isinstance(version, str) and _VERSION.fullmatch(version)):
        raise ContractError(
            f"{cls.__qualname__}: version={version!r} is neither a number nor text of letters, digits and '._-'."
        )


def _require_place(cls: type[Any], options: ContractOptions, *, is_external: bool) -> None:
    entity, topic, domain = options.get("entity"), options.get("topic"), options.get("domain")
    if (entity is None) == (topic is None):
        raise ContractError(
            f"{cls.__qualname__}: give exactly one of entity= (the topic is its plural) and topic= (verbatim)."
        )
    given = entity if topic is None else topic
    if not isinstance(given, str) or not given.removeprefix("/"):
        raise ContractError(f"{cls.__qualname__}: {given!r} names no topic. Give a word, as in entity='order'.")
    if topic is not None and (problem := topic_problem(topic.removeprefix("/"))):
        raise ContractError(f"{cls.__qualname__}: {problem}")
    if is_external and domain is None and not given.startswith("/"):
        raise ContractError(
            f"{cls.__qualname__}: an external event names its owner's domain=, or topic='/...' in full."
        )


def _compile_subject(cls: type[Any], subject: SubjectDeclaration) -> Callable[[Any], str | None] | None:
    if not isinstance(subject, str):
        return subject
    template = subject
    try:
        used = {re.split(r"[.\[]", field)[0] for _, field, _, _ in Formatter().parse(template) if field is not None}
    except ValueError as exc:
        raise ContractError(f"{cls.__qualname__}: subject={template!r} is no format string: {exc}.") from exc
    names = tuple(sorted(used))
    for unknown in used.difference(field.name for field in dataclasses.fields(cls)):
        raise ContractError(
            f"{cls.__qualname__}: subject={template!r} names {unknown!r}, which is not one of its fields."
        )
    return lambda event: template.format(**{name: getattr(event, name) for name in names})
