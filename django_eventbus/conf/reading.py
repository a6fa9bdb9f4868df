"""How does one value from the settings become the type that its field declares?"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from .problems import likely
from .sections import Between, Matches


class Refused(Exception):
    """A value does not fit; the message completes "<path> is <value>, but must be ..."."""

    def __init__(self, expected: str, *, hint: str = "", index: int | None = None) -> None:
        super().__init__(expected)
        self.expected = expected
        self.hint = hint
        self.index = index  # of the item within a list


def read(value: Any, kind: Any) -> Any:
    """Return the value as `kind` (a resolved annotation); raise Refused if it is something else."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _limited(value, arguments[0], arguments[1:])
    if origin in (Union, UnionType):
        return _optional(value, arguments)
    if origin is Literal:
        return _choice(value, arguments)
    if origin is tuple:
        return _items(value, arguments[0])
    if origin is Mapping:
        return _options(value)
    return _SCALARS[kind](value)


def expectation(kind: Any) -> str:
    """Say in words what a field takes, for errors and for the reference page."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _limited_words(arguments[0], arguments[1:])
    if origin in (Union, UnionType):
        return f"{expectation(_other_than_none(arguments))} or None"
    if origin is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if origin is tuple:
        return f"a list, each item {expectation(arguments[0])}"
    if origin is Mapping:
        return "a dict with text keys"
    return _WORDS[kind]


def is_optional(kind: Any) -> bool:
    """Say whether a field takes None."""
    return get_origin(kind) in (Union, UnionType)


def base_of(kind: Any) -> Any:
    """Strip limits and None from an annotation: `Annotated[int, ...] | None` -> int."""
    if is_optional(kind):
        return base_of(_other_than_none(get_args(kind)))
    return base_of(get_args(kind)[0]) if get_origin(kind) is Annotated else kind


def _optional(value: Any, arguments: tuple[Any, ...]) -> Any:
    if value is None:
        return None
    try:
        return read(value, _other_than_none(arguments))
    except Refused as refused:
        raise Refused(f"{refused.expected} or None", hint=refused.hint, index=refused.index) from None


def _other_than_none(arguments: tuple[Any, ...]) -> Any:
    return next(part for part in arguments if part is not NoneType)


def _choice(value: Any, allowed: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in allowed:
        return value
    meant = likely(value, allowed) if isinstance(value, str) else None
    raise Refused("one of " + ", ".join(map(repr, allowed)), hint=f"Did you mean {meant!r}?" if meant else "")


def _items(value: Any, kind: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise Refused(f"a list, each item {expectation(kind)}")
    items = []
    for index, item in enumerate(value):
        try:
            items.append(read(item, kind))
        except Refused as refused:
            raise Refused(refused.expected, hint=refused.hint, index=index) from None
    return tuple(items)


def _options(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise Refused("a dict with text keys")
    return dict(value)


def _limited(value: Any, kind: Any, limits: tuple[Any, ...]) -> Any:
    words = _limited_words(kind, limits)
    try:
        value = read(value, kind)
    except Refused:
        raise Refused(words) from None
    for limit in limits:
        match limit:
            case Between(low=low, high=high) if value < low or (high is not None and value > high):
                raise Refused(words)
            case Matches(pattern=pattern) if not re.fullmatch(pattern, value):
                raise Refused(words)
    return value


def _limited_words(kind: Any, limits: tuple[Any, ...]) -> str:
    match limits[0]:
        case Between(low=low, high=None):
            return f"{expectation(kind)}, {low} or more"
        case Between(low=low, high=high):
            return f"{expectation(kind)} from {low} to {high}"
        case Matches(meaning=meaning):
            return str(meaning)
    return expectation(kind)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Refused(_WORDS[bool])
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused(_WORDS[int])
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Refused(_WORDS[float])
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond every float
        raise Refused(_WORDS[float]) from None
    if not math.isfinite(number):
        raise Refused(_WORDS[float])
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Refused(_WORDS[str])
    return value


def _duration(value: Any) -> timedelta:
    try:
        duration = value if isinstance(value, timedelta) else timedelta(seconds=_number(value))
    except (Refused, OverflowError):
        raise Refused(_WORDS[timedelta]) from None
    if duration <= timedelta():
        raise Refused(_WORDS[timedelta])
    return duration


_SCALARS = {bool: _boolean, int: _whole, float: _number, str: _text, timedelta: _duration}
_WORDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text that is not empty",
    timedelta: "a duration above zero (a timedelta, or seconds)",
}
