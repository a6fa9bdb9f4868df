"""Which declarations of events are wrong, as far as only a loaded project can show?"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints, is_typeddict

import msgspec
from django.db.models import Model

from django_eventbus.exceptions import ContractError

from .contract import EventContract
from .language import is_imperative, is_primitive, is_wire_name
from .naming import NamingConfig, colliding_topics, topic_of


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Describe one fault of a declaration; `checks` makes it a check message `eventbus.<id>`."""

    id: str  # E001-E019 errors, W001-W019 warnings
    message: str  # what is wrong, and where
    hint: str  # what to do
    obj: type[Any] | None = None  # the event class


def find_problems(contracts: Iterable[EventContract], configs: Iterable[NamingConfig]) -> list[Problem]:
    """Return every problem of these contracts on these buses; needs ready apps."""
    known, buses = list(contracts), list(configs)
    problems = [problem for contract in known for rule in _RULES for problem in rule(contract)]
    problems += _duplicates(known)
    problems += _topics(known, buses)
    problems += _key_problems(known, buses)
    return list(dict.fromkeys(problems))


def _undecodable(contract: EventContract) -> Iterator[Problem]:
    try:
        contract.codec.compile()
        found = list(leaves(contract.cls))
    except (NameError, AttributeError) as exc:
        yield Problem(
            id="E002",
            message=f"{contract.label}: an annotation cannot be resolved: {exc}.",
            hint="Import the name in the module of the class, at run time too.",
            obj=contract.cls,
        )
        return
    except ContractError as exc:
        yield Problem(id="E001", message=str(exc), hint="Use types that JSON can tell apart.", obj=contract.cls)
        return
    for field, leaf, _ in found:
        if isinstance(leaf, type) and issubclass(leaf, Model):
            yield Problem(
                id="E003",
                message=f"{contract.label}: field {field!r} holds the Django model {leaf.__name__}.",
                hint="Carry its id and the values that readers need; a model changes, an event does not.",
                obj=contract.cls,
            )
        elif isinstance(leaf, type) and isinstance(msgspec.inspect.type_info(leaf), msgspec.inspect.CustomType):
            yield Problem(
                id="E001",
                message=f"{contract.label}: field {field!r} holds {leaf.__qualname__}, which JSON cannot carry.",
                hint="Use a dataclass, an enum, or a type that msgspec supports.",
                obj=contract.cls,
            )


def _bare_datetimes(contract: EventContract) -> Iterator[Problem]:
    for field, leaf, metadata in _resolvable_leaves(contract.cls):
        is_aware = any(isinstance(mark, msgspec.Meta) and mark.tz for mark in metadata)
        if leaf is datetime and not is_aware and not contract.is_external:
            yield Problem(
                id="W001",
                message=f"{contract.label}: field {field!r} is a bare datetime, which may travel without a timezone.",
                hint="Use django_eventbus.AwareDatetime.",
                obj=contract.cls,
            )


def _wording(contract: EventContract) -> Iterator[Problem]:
    if contract.entity is not None and is_primitive(contract.entity):
        yield Problem(
            id="W003",
            message=f"{contract.label}: entity={contract.entity!r} is a type, not a thing.",
            hint="Name what the event is about, as in entity='order'.",
            obj=contract.cls,
        )
    if contract.is_external:
        return
    if is_imperative(contract.cls.__name__):
        yield Problem(
            id="W002",
            message=f"{contract.label}: {contract.cls.__name__} reads as a command.",
            hint="Name an event after what has happened, as in OrderPlaced.",
            obj=contract.cls,
        )
    if not is_wire_name(contract.name):
        yield Problem(
            id="W005",
            message=f"{contract.label}: {contract.name!r} is not of the form domain.context.event-in-kebab.",
            hint="Choose the name before the first event travels: it is wire and stays for ever.",
            obj=contract.cls,
        )


_RULES: tuple[Callable[[EventContract], Iterator[Problem]], ...] = (_undecodable, _bare_datetimes, _wording)


def _duplicates(contracts: list[EventContract]) -> Iterator[Problem]:
    groups = defaultdict(list)
    for contract in contracts:
        groups[contract.name, contract.version].append(contract)
    for (name, version), group in groups.items():
        if len(group) > 1:
            classes = ", ".join(f"{contract.cls.__module__}.{contract.cls.__qualname__}" for contract in group)
            yield Problem(
                id="E004",
                message=f"{name!r} version {version!r} is declared by several classes: {classes}.",
                hint="Keep one of them and import it, or give the newer one another version.",
                obj=group[1].cls,
            )


def _topics(contracts: list[EventContract], configs: list[NamingConfig]) -> Iterator[Problem]:
    for config in configs:
        topics = set()
        for contract in contracts:
            if contract.is_domain_event:
                continue
            try:
                topics.add(topic_of(contract, config))
            except ContractError as exc:
                yield Problem(id="E006", message=str(exc), hint="Topics are wire: choose well.", obj=contract.cls)
        for group in colliding_topics(topics):
            yield Problem(
                id="W004",
                message=f"Topics differ in '.' and '_' only: {', '.join(group)}.",
                hint="Kafka refuses to create the second of them. Rename one.",
            )


def _key_problems(contracts: list[EventContract], configs: list[NamingConfig]) -> Iterator[Problem]:
    fallbacks: set[tuple[str, ...]] = {getattr(config, "partition_key_fields", ()) for config in configs} or {()}
    for contract in contracts:
        times = {
            field
            for field, leaf, _ in _resolvable_leaves(contract.cls)
            if isinstance(leaf, type) and issubclass(leaf, date | time)
        }
        if not times:
            continue
        for name in {name for fallback in fallbacks for name in contract.key.field_names(fallback)} & times:
            yield Problem(
                id="E005",
                message=f"{contract.label}: the key uses {name!r}, a date or time.",
                hint="A key names the thing whose events stay in order, as in key='order_id'.",
                obj=contract.cls,
            )


def _resolvable_leaves(cls: type[Any]) -> list[tuple[str, Any, tuple[Any, ...]]]:
    try:
        return list(leaves(cls))
    except (NameError, AttributeError):
        return []  # reported as E002


def leaves(cls: type[Any]) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Yield (field of the event, type without parameters, metadata) for all that its fields may hold."""
    hints = get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        yield from ((field.name, leaf, metadata) for leaf, metadata in _parts(hints[field.name], (), seen={cls}))


def _parts(hint: Any, metadata: tuple[Any, ...], *, seen: set[Any]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    origin = get_origin(hint)
    if origin is Annotated:
        yield from _parts(hint.__origin__, (*metadata, *hint.__metadata__), seen=seen)
    elif origin in (Literal, ClassVar):
        return
    elif origin is not None:
        for argument in get_args(hint):
            yield from _parts(argument, metadata, seen=seen)
    elif dataclasses.is_dataclass(hint) or is_typeddict(hint) or hasattr(hint, "_fields"):
        if hint not in seen:
            seen.add(hint)
            for inner in get_type_hints(hint, include_extras=True).values():
                yield from _parts(inner, (), seen=seen)
    else:
        yield hint, metadata
