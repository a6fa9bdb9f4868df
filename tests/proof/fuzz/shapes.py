"""Which JSON is an event of the fuzz run, told without the code under test: by json, re and the letter of the rules.

Every reader returns the canonical text of what a handler must be given. `Bad` is raised for what no handler may get,
`Unsure` for what the rules leave open (a key that is there twice, a time with seven digits, bytes that nobody reads).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from tests.proof.fuzz.canonical import canonical

Reader = Callable[[Any], str]
LONGEST_NUMBER = 300  # digits; whether longer ones are read is left open

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:[0-5]\d)", re.ASCII)
_LIKE_A_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:?[0-5]\d)", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LIKE_A_UUID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_DECIMAL = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_LIKE_A_DECIMAL = re.compile(r"\s*[+-]?([\d_.]+(e[+-]?\d+)?|nan\d*|snan\d*|inf(inity)?)\s*", re.IGNORECASE)


class Bad(Exception):
    """No handler may get this."""


class Unsure(Exception):
    """The rules leave it open; what is made of it is noted, not judged."""


class Fraction(str):
    """The digits of a JSON number that is not whole."""


class Huge(str):
    """The digits of a whole number that is longer than anybody needs."""


class Doubled(dict[str, Any]):
    """An object in which a name is there twice."""


def parse(data: bytes) -> tuple[Any, bool]:
    """Return the JSON value, and whether its bytes are UTF-8; raise Bad where it is not JSON by RFC 8259."""
    try:
        text, is_clean = data.decode(), True
    except UnicodeDecodeError:
        text, is_clean = data.decode("utf-8", "surrogateescape"), False
    try:
        return _load(text), is_clean
    except (ValueError, RecursionError) as exc:
        raise Bad(f"no JSON: {exc}") from exc


def _refuse(literal: str) -> Any:
    raise ValueError(literal)


def _whole(digits: str) -> Any:
    return int(digits) if len(digits) <= LONGEST_NUMBER else Huge(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else Doubled(made)


_load = json.JSONDecoder(
    parse_constant=_refuse, parse_int=_whole, parse_float=Fraction, object_pairs_hook=_object
).decode


def text(value: Any) -> str:
    if type(value) is not str or has_surrogates(value):
        raise Bad("no text")
    return canonical(value)


def boolean(value: Any) -> str:
    if type(value) is not bool:
        raise Bad("neither true nor false")
    return canonical(value)


def whole(value: Any) -> str:
    if type(value) is Huge:
        raise Unsure("a very long number")
    if type(value) is not int:
        raise Bad("no whole number")
    return canonical(value)


def number(value: Any) -> str:
    if type(value) is Huge:
        raise Unsure("a very long number")
    if type(value) not in (int, Fraction):
        raise Bad("no number")
    found = float(value)
    if not math.isfinite(found):
        raise Bad("beyond what a float holds")
    return canonical(found)


def decimal(value: Any) -> str:
    if type(value) is Huge:
        raise Unsure("a very long number")
    if type(value) in (int, Fraction):
        return canonical(Decimal(value))
    return _written(value, _DECIMAL, _LIKE_A_DECIMAL, Decimal)


def moment(value: Any) -> str:
    return _written(value, _TIME, _LIKE_A_TIME, datetime.fromisoformat)


def uuid(value: Any) -> str:
    return _written(value, _UUID, _LIKE_A_UUID, UUID)


def _written(value: Any, form: re.Pattern[str], like: re.Pattern[str], read: Callable[[str], Any]) -> str:
    if type(value) is not str:
        raise Bad("no text")
    if not form.fullmatch(value):
        raise Unsure("nearly") if like.fullmatch(value) else Bad("another form")
    try:
        return canonical(read(value))
    except ValueError as exc:
        raise Bad(str(exc)) from exc


def one_of(*words: str) -> Reader:
    def read(value: Any) -> str:
        if type(value) is not str or value not in words:
            raise Bad("none of the words")
        return f"e{value}"

    return read


def optional(reader: Reader) -> Reader:
    return lambda value: "None" if value is None else reader(value)


def list_of(reader: Reader) -> Reader:
    def read(value: Any) -> str:
        if type(value) is not list:
            raise Bad("no list")
        return f"[{','.join(all_of([partial(reader, item) for item in value]))}]"

    return read


def texts_by_name(value: Any) -> str:
    if not isinstance(value, dict):
        raise Bad("no object")
    if any(has_surrogates(name) for name in value):
        raise Bad("no text")
    found = {canonical(name): part for name, part in value.items()}
    all_of([partial(text, part) for part in value.values()])
    if isinstance(value, Doubled):
        raise Unsure("a name twice")
    return f"{{{','.join(f'{canonical(name)}={canonical(value[name])}' for name in sorted(value))}}}" if found else "{}"


def fields(readers: Mapping[str, Reader], defaults: Mapping[str, str]) -> Reader:
    """Read an object: what is not named here is ignored, what has no default must be there."""

    def read(value: Any) -> str:
        if not isinstance(value, dict):
            raise Bad("no object")
        if readers.keys() - value.keys() - defaults.keys():
            raise Bad("a field is missing")
        steps = [partial(readers[name], value[name]) for name in readers if name in value]
        found = dict(zip((name for name in readers if name in value), all_of(steps), strict=True))
        if isinstance(value, Doubled):
            raise Unsure("a name twice")
        if any(is_odd(part) for name, part in value.items() if name not in readers) or any(map(has_surrogates, value)):
            raise Unsure("not UTF-8 where nobody looks")
        return f"({','.join(sorted(f'{name}={part}' for name, part in {**defaults, **found}.items()))})"

    return read


def all_of(steps: Sequence[Callable[[], str]]) -> list[str]:
    """Take all steps; one Bad among them outweighs any Unsure."""
    found, unsure = [], None
    for step in steps:
        try:
            found.append(step())
        except Unsure as exc:
            unsure = exc
    if unsure is not None:
        raise unsure
    return found


def has_surrogates(value: str) -> bool:
    return not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value)


def is_odd(value: Any) -> bool:
    """Say whether bytes that are not UTF-8, or half a surrogate pair, are anywhere in it."""
    match value:
        case str():
            return has_surrogates(value)
        case dict():
            return any(is_odd(part) for pair in value.items() for part in pair)
        case list():
            return any(map(is_odd, value))
    return False


def _has_large(value: Any) -> bool:
    match value:
        case Huge():
            return True
        case int():
            return not -(2**63) <= value < 2**64
        case dict():
            return any(map(_has_large, value.values()))
        case list():
            return any(map(_has_large, value))
    return False


line = fields({"sku": text, "quantity": whole, "price": decimal}, {})
address = fields({"street": text, "lines": list_of(text)}, {"lines": "[]"})
order_placed = fields(
    {
        "order_id": uuid,
        "placed_at": moment,
        "status": one_of("new", "paid", "gone"),
        "total": decimal,
        "lines": list_of(line),
        "address": optional(address),
        "tags": texts_by_name,
        "note": optional(text),
    },
    {"address": "None", "tags": "{}", "note": "None"},
)
measured = fields(
    {"sensor": whole, "value": number, "is_final": boolean, "samples": list_of(number)}, {"samples": "[]"}
)
renamed = fields({"user_id": whole, "full_name": text}, {})
priced = fields({"sku": text, "price": decimal}, {})


def renamed_before(value: Any) -> str:
    """Read version 1, whose upcaster joins two names; a step sees the whole document, so all of it counts."""
    if not isinstance(value, dict):
        raise Bad("no object")
    if is_odd(value):
        raise Bad("not UTF-8")
    if isinstance(value, Doubled) or _has_large(value):
        raise Unsure("what a step may make of it")
    if not {"user_id", "first", "last"} <= value.keys():
        raise Bad("a field is missing")
    text(value["first"])
    text(value["last"])
    return renamed({"user_id": value["user_id"], "full_name": f"{value['first']} {value['last']}"})
