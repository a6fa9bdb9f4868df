"""What must become of a record, told from its bytes by the letter of CloudEvents and its Kafka binding?"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

from tests.proof.fuzz import shapes
from tests.proof.fuzz.canonical import digest
from tests.proof.fuzz.shapes import Bad, Unsure

Headers = Sequence[tuple[str, bytes | None]]

_ATTRIBUTE = re.compile("[a-z0-9]{1,20}")
_URI = re.compile(r"([-A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f][0-9A-Fa-f])+")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:[0-5]\d)", re.ASCII)
_VALUE = re.compile("[(,]value=([^,)]*)")  # in the canonical text of a measurement
_STRINGS = frozenset({"specversion", "id", "type", "source", "time", "subject", "dataschema", "datacontenttype"})
_REQUIRED = ("specversion", "id", "type", "source")


class Fate(Enum):
    """What may become of a record."""

    HANDLED = "handled"  # by each of its handlers, once
    SKIPPED = "skipped"
    DEAD = "dead"  # one dead letter with its exact bytes
    OPEN = "open"  # handled or dead: the rules leave it open, but it must be accounted for


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What must become of one record, and why."""

    fate: Fate
    why: str = ""
    handlers: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()  # handlers that end it as a dead letter of their own
    digest: UUID | None = None  # of what the handlers were given
    source: str = ""
    message_id: str = ""


TOMBSTONE = Judgement(fate=Fate.SKIPPED, why="tombstone")
# Name and version -> reader and handlers; None: left out on purpose. A record without a version is the oldest one.
ROUTES: Mapping[tuple[str, str], tuple[Any, tuple[str, ...]] | None] = {
    ("fuzz.order-placed", "1"): (shapes.order_placed, ("fuzz.keep",)),
    ("fuzz.measured", "1"): (shapes.measured, ("fuzz.measure", "fuzz.watch")),
    ("fuzz.renamed", "1"): (shapes.renamed_before, ("fuzz.rename",)),
    ("fuzz.renamed", "2"): (shapes.renamed, ("fuzz.rename",)),
    ("fuzz.priced", "2"): (shapes.priced, ("fuzz.price",)),
}
KNOWN = frozenset(name for name, _ in ROUTES)


def judge(headers: Headers, value: bytes | None, *, keeps_unknown: bool = False) -> Judgement:
    """Say what must become of a record."""
    if value is None:
        return TOMBSTONE
    try:
        attributes, data = envelope(headers, value)
    except Bad as exc:
        return Judgement(fate=Fate.DEAD, why=f"envelope: {exc}")
    except Unsure as exc:
        return Judgement(fate=Fate.OPEN, why=f"envelope: {exc}")
    return _route(attributes, data, keeps_unknown=keeps_unknown)


def _route(attributes: Mapping[str, str], data: Any, *, keeps_unknown: bool) -> Judgement:
    name, version = attributes["type"], attributes.get("eventversion", "1")
    is_skipped = (name not in KNOWN and not keeps_unknown) or (name == "fuzz.priced" and version != "2")
    if is_skipped and isinstance(data, Structured) and shapes.is_odd(data.value):
        return Judgement(fate=Fate.OPEN, why="envelope: not UTF-8 where nobody looks")
    if name not in KNOWN:
        return Judgement(fate=Fate.DEAD if keeps_unknown else Fate.SKIPPED, why="unknown event")
    if name == "fuzz.priced" and version != "2":
        return Judgement(fate=Fate.SKIPPED, why="version left out")
    route = ROUTES.get((name, version))
    if route is None:
        return Judgement(fate=Fate.DEAD, why="unknown version")
    reader, handlers = route
    origin: Any = {"source": attributes["source"], "message_id": attributes["id"]}
    try:
        text = _read_data(reader, attributes.get("datacontenttype", "application/json"), data)
    except Bad as exc:
        return Judgement(fate=Fate.DEAD, why=f"data: {exc}")
    except Unsure as exc:
        return Judgement(fate=Fate.OPEN, why=f"data: {exc}", handlers=handlers, **origin)
    is_below_zero = name == "fuzz.measured" and (found := _VALUE.search(text)) is not None and float(found[1]) < 0
    rejected = ("fuzz.watch",) if is_below_zero else ()
    return Judgement(fate=Fate.HANDLED, handlers=handlers, rejected=rejected, digest=digest(text), **origin)


def _read_data(reader: Any, content_type: str, data: Any) -> str:
    media = content_type.split(";")[0].strip().lower()
    if not re.fullmatch(r"[^/]+/(.*\+)?json", media):
        raise Bad("no JSON by its content type")
    if isinstance(data, Structured):
        found: Any = data.value
    elif data is None:
        raise Bad("no data")
    else:
        found, is_clean = shapes.parse(data)
        del is_clean  # the readers see it in the texts
    return str(reader(found))


@dataclass(frozen=True, slots=True)
class Structured:
    """The JSON value that stood in the document itself."""

    value: Any


def envelope(headers: Headers, value: bytes) -> tuple[dict[str, str], Any]:
    """Return attributes and data of either mode; raise Bad or Unsure."""
    types = [text for name, text in headers if name.lower() == "content-type"]
    if len(types) > 1:
        raise Bad("content-type twice")
    content_type = (types[0] or b"").decode("utf-8", "backslashreplace") if types else ""
    if content_type.lower().startswith("application/cloudevents"):
        attributes, data = _structured(content_type, value)
    else:
        attributes, data = _binary(headers, content_type), value
    for name in _REQUIRED:
        if name not in attributes:
            raise Bad(f"no {name}")
    if attributes["specversion"] != "1.0":
        raise Bad("specversion")
    for name in ("source", "dataschema"):
        if name in attributes and not _URI.fullmatch(attributes[name]):
            raise Bad(f"{name} is no URI reference")
    _check_time(attributes.get("time"))
    return attributes, data


def _binary(headers: Headers, content_type: str) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for header, value in headers:
        if not header.startswith("ce_"):
            continue
        name = header.removeprefix("ce_")
        if name in attributes:
            raise Bad(f"{name} twice")
        try:
            attributes[name] = (value or b"").decode()
        except UnicodeDecodeError as exc:
            raise Bad(f"{name} is not UTF-8") from exc
        _check(name, attributes[name])
    if not attributes:
        raise Bad("no CloudEvent")
    if content_type:
        attributes["datacontenttype"] = content_type
    return attributes


def _structured(content_type: str, value: bytes) -> tuple[dict[str, str], Any]:
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if media != "application/cloudevents+json":
        raise Bad("a format that nobody reads")
    for parameter in parameters:
        if parameter.startswith("charset=") and parameter[8:].strip('"') not in {"utf-8", "utf8", "us-ascii"}:
            raise Bad("not UTF-8 by its own word")
    document, _ = shapes.parse(value)
    if not isinstance(document, dict):
        raise Bad("no object")
    if isinstance(document, shapes.Doubled):
        raise Unsure("a member twice")
    members = dict(document)
    data, encoded = members.pop("data", ...), members.pop("data_base64", ...)
    attributes = {name: text for name, part in members.items() if (text := _member(name, part)) is not None}
    if encoded is not ...:
        return attributes, _decoded(encoded, beside=data)
    return attributes, None if data is ... else Structured(data)


def _member(name: str, value: Any) -> str | None:
    if value is None:
        if not _ATTRIBUTE.fullmatch(name) or name == "data":
            raise Bad(f"{name!r} is no name")
        return None
    if type(value) is bool and name not in _STRINGS:
        value = json.dumps(value)
    if type(value) is int and name not in _STRINGS and -(2**31) <= value < 2**31:
        value = str(value)
    if type(value) is not str:
        raise Bad(f"{name} has a type that it may not have")
    _check(name, value)
    return value


def _decoded(encoded: Any, *, beside: Any) -> bytes:
    if beside is not ...:
        raise Bad("data twice")
    if type(encoded) is not str or shapes.has_surrogates(encoded):
        raise Bad("data_base64 is no text")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise Bad("no base64") from exc


def _check(name: str, text: str) -> None:
    if not _ATTRIBUTE.fullmatch(name) or name == "data":
        raise Bad(f"{name!r} is no name")
    if not text or shapes.has_surrogates(text):
        raise Bad(f"{name} is empty or no text")
    if not text.isprintable() and any(_is_forbidden(ord(letter)) for letter in text):
        raise Bad(f"{name} holds what no attribute may hold")


def _is_forbidden(code: int) -> bool:
    return code < 0x20 or 0x7F <= code < 0xA0 or 0xFDD0 <= code < 0xFDF0 or code in (0xFFFE, 0xFFFF)


def _check_time(text: str | None) -> None:
    if text is None:
        return
    if not _TIME.fullmatch(text):
        raise Bad("no time")
    try:
        datetime.fromisoformat(text.upper())
    except ValueError as exc:
        raise Bad("no time") from exc
