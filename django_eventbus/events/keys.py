"""Under which key does an event travel, and to which shard does that key belong?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from operator import attrgetter
from struct import unpack_from
from typing import Any, Protocol, get_type_hints
from uuid import UUID

import msgspec

from django_eventbus.conf.sections import SHARDS
from django_eventbus.exceptions import ContractError

KeyDeclaration = str | tuple[str, ...] | Callable[[Any], object] | None
KeyFunction = Callable[[Any], str]

_encode = msgspec.json.Encoder().encode
_MASK = 0xFFFFFFFF
_MULTIPLIER = 0x5BD1E995


@dataclasses.dataclass(frozen=True, slots=True)
class PartitionKey:
    """Mark a field as (part of) the key: `Annotated[UUID, PartitionKey(order=0)]`."""

    order: int = 0  # position among several marked fields; equal ones sort by field name


class KeyRule(Protocol):
    """What a bus says about keys; a `BusConfig` satisfies it."""

    @property
    def partition_key_fields(self) -> tuple[str, ...]: ...
    @property
    def escape_keys(self) -> bool: ...


class EventKey:
    """Compute the key of one event class; compiled once per rule, called once per publish."""

    __slots__ = ("_cls", "_compiled", "_declared")

    def __init__(self, cls: type[Any], declared: KeyDeclaration) -> None:
        self._cls = cls
        self._declared = declared
        self._compiled: dict[tuple[tuple[str, ...], bool], KeyFunction | None] = {}

    def __call__(self, event: object, rule: KeyRule, /) -> str | None:
        """Return the key as text, or None where the event id is to be used."""
        at = rule.partition_key_fields, rule.escape_keys
        try:
            function = self._compiled[at]
        except KeyError:
            function = self._compiled[at] = self._compile(rule)
        return None if function is None else function(event)

    def field_names(self, fallback: Iterable[str] = ()) -> tuple[str, ...]:
        """Return the fields that make the key; empty where a function makes it, or nothing does."""
        match self._declared:
            case str() as name:
                return (name,)
            case tuple() as names:
                return names
            case None:
                pass
            case _:
                return ()
        if marked := _marked_fields(self._cls):
            return marked
        if self._method() is not None:
            return ()
        names_of_fields = {field.name for field in dataclasses.fields(self._cls)}
        return next(((name,) for name in fallback if name in names_of_fields), ())

    def describe(self, rule: KeyRule) -> str:
        """Say in words where the key comes from."""
        if names := self.field_names(rule.partition_key_fields):
            return "|".join(names)
        if callable(self._declared):
            return f"{getattr(self._declared, '__qualname__', repr(self._declared))}(event)"
        return "partition_key()" if self._method() else "event id"

    def _compile(self, rule: KeyRule) -> KeyFunction | None:
        if names := self.field_names(rule.partition_key_fields):
            return _text_of(attrgetter(*names), escape=rule.escape_keys)
        if callable(self._declared):
            return _text_of(self._declared, escape=rule.escape_keys)
        if method := self._method():
            return _text_of(method, escape=rule.escape_keys)
        return None

    def _method(self) -> Callable[[Any], object] | None:
        method = getattr(self._cls, "partition_key", None)  # a field of that name is no method
        return method if callable(method) else None


def key_text(value: object) -> str:
    """Return a value's JSON text without quotes; None gives the empty text."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[return-value]
    if kind is UUID or kind is int:
        return str(value)
    if value is None:
        return ""
    encoded = _encode(value)
    return str(msgspec.json.decode(encoded)) if encoded.startswith(b'"') else encoded.decode()


def join_key(values: Iterable[object], *, escape: bool) -> str:
    r"""Join the parts of a composite key with `|`; escaping makes ("a|b", "c") differ from ("a", "b|c")."""
    texts = map(key_text, values)
    if escape:
        texts = (text.replace("\\", "\\\\").replace("|", "\\|") for text in texts)  # type: ignore[assignment]
    return "|".join(texts)


def murmur2(data: bytes) -> int:
    """Hash bytes as Kafka's default partitioner does; unsigned 32 bit."""
    length = len(data)
    whole = length & ~3
    digest = 0x9747B28C ^ length
    for word in unpack_from(f"<{whole >> 2}I", data):
        word = word * _MULTIPLIER & _MASK
        digest = (digest * _MULTIPLIER ^ (word ^ word >> 24) * _MULTIPLIER) & _MASK
    if whole != length:
        digest = (digest ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _MASK
    digest = (digest ^ digest >> 13) * _MULTIPLIER & _MASK
    return digest ^ digest >> 15


def shard_of(key: bytes) -> int:
    """Return the relay shard of a key. Stored with every outbox row, so fixed for ever."""
    return (murmur2(key) & 0x7FFFFFFF) % SHARDS


def require_fields(cls: type[Any], declared: KeyDeclaration) -> None:
    """Raise ContractError where a declared key names something that is no field."""
    if isinstance(declared, tuple) and not declared:
        raise ContractError(f"{cls.__qualname__}: key=() names no field. Leave key out to use the event id.")
    names = (declared,) if isinstance(declared, str) else declared if isinstance(declared, tuple) else ()
    known = [field.name for field in dataclasses.fields(cls)]
    for name in names:
        if name not in known:
            raise ContractError(
                f"{cls.__qualname__}: key names {name!r}, which is no field of it ({', '.join(known) or 'none'})."
            )


def _text_of(source: Callable[[Any], object], *, escape: bool) -> KeyFunction:
    def function(event: Any) -> str:
        value = source(event)
        return join_key(value, escape=escape) if type(value) is tuple else key_text(value)

    return function


def _marked_fields(cls: type[Any]) -> tuple[str, ...]:
    hints = get_type_hints(cls, include_extras=True)
    marked = [
        (mark.order, field.name)
        for field in dataclasses.fields(cls)
        for mark in getattr(hints[field.name], "__metadata__", ())
        if isinstance(mark, PartitionKey)
    ]
    return tuple(name for _, name in sorted(marked))
