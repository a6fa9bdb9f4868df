"""How does an event become bytes, and bytes an event again, with every fault named?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any, get_type_hints
from uuid import UUID

import msgspec

from django_eventbus.exceptions import ContractError, EventInvalid, Undecodable, UndecodableReason

JSON = "application/json"

_encode = msgspec.json.Encoder().encode
_REFUSED = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError)
_FINITE = frozenset({type(None), str, int, bool, bytes, UUID, datetime, date})  # what needs no look inside


class Codec:
    """Encode and decode one event class as JSON; the decoder is built when its names can be resolved."""

    __slots__ = ("_cls", "_decoder", "_names")

    def __init__(self, cls: type[Any]) -> None:
        self._cls = cls
        self._names = tuple(field.name for field in dataclasses.fields(cls))
        self._decoder: msgspec.json.Decoder[Any] | None = None

    def compile_early(self) -> None:
        """Build the decoder if every name in the annotations is known; raise ContractError for what it refuses."""
        try:
            self.compile()
        except (NameError, AttributeError):
            return  # a forward reference, or a module still being imported

    def compile(self) -> msgspec.json.Decoder[Any]:
        """Return the decoder, built at the first call; raise NameError or ContractError where that fails."""
        if self._decoder is None:
            try:
                self._decoder = msgspec.json.Decoder(self._cls)
            except TypeError as exc:
                raise ContractError(f"{self._cls.__qualname__} has a field that cannot travel: {exc}.") from exc
        return self._decoder

    def encode(self, event: object) -> bytes:
        """Return the JSON of a valid event; raise EventInvalid with every field error otherwise."""
        decoder = self._decoder or self.compile()
        try:
            data = _encode(event)
            decoder.decode(data)  # encoding does not validate; reading it back does
        except _REFUSED as exc:
            raise self._invalid(event, exc) from exc
        # JSON has no NaN: msgspec writes null, which an optional float would silently read as None.
        if b"null" in data or b"NaN" in data or b"Infinity" in data:
            for name in self._names:
                value = getattr(event, name)
                if type(value) not in _FINITE and _holds_non_finite(value):
                    raise self._invalid(event, name)
        return data

    def decode(self, data: bytes | None) -> Any:
        """Return the event that the bytes hold; raise Undecodable with its reason."""
        decoder = self._decoder or self.compile()
        if data is None:
            raise Undecodable(UndecodableReason.INVALID_DATA, "the message carries no data")
        try:
            return decoder.decode(data)
        except MemoryError:
            raise  # the process is short of memory; the message is not at fault
        except Exception as exc:  # __post_init__ may raise anything; unclassified, it would crash the loop
            raise undecodable(exc) from exc

    def _invalid(self, event: object, cause: object) -> EventInvalid:
        errors = tuple(_field_errors(event)) or (str(cause),)
        return EventInvalid(f"{self._cls.__qualname__} is not valid: {'; '.join(errors)}", errors=errors)


def undecodable(exc: Exception) -> Undecodable:
    """Classify what went wrong while reading JSON."""
    match exc:
        case UnicodeDecodeError():
            return Undecodable(UndecodableReason.BAD_ENCODING, f"not UTF-8: {exc.reason} at byte {exc.start}")
        case RecursionError():
            return Undecodable(UndecodableReason.TOO_DEEP, "the JSON is nested too deeply")
        case msgspec.ValidationError():
            return Undecodable(UndecodableReason.INVALID_DATA, str(exc))
        case msgspec.DecodeError():
            return Undecodable(UndecodableReason.INVALID_JSON, str(exc))
        case _:
            return Undecodable(UndecodableReason.INVALID_DATA, f"{type(exc).__name__}: {exc}")


def is_json(content_type: str) -> bool:
    """Say whether data of this content type is JSON, by the rules of CloudEvents."""
    if content_type == JSON:
        return True
    media = content_type.partition(";")[0].strip().lower()
    kind, _, subtype = media.partition("/")
    return bool(kind) and (subtype == "json" or subtype.endswith("+json"))


def _field_errors(event: object) -> Iterator[str]:
    hints = get_type_hints(type(event), include_extras=True)
    for field in dataclasses.fields(event):  # type: ignore[arg-type]
        value = getattr(event, field.name)
        try:
            msgspec.json.decode(_encode(value), type=hints[field.name])
        except _REFUSED as exc:
            yield f"{field.name}: {exc}"
        else:
            if _holds_non_finite(value):
                yield f"{field.name}: JSON has no NaN and no Infinity"


def _holds_non_finite(value: object) -> bool:
    match value:
        case float():
            return not isfinite(value)
        case Decimal():
            return not value.is_finite()
        case None | str() | bytes() | int():
            return False
        case Mapping():
            return any(_holds_non_finite(part) for pair in value.items() for part in pair)
        case list() | tuple() | set() | frozenset():
            return any(map(_holds_non_finite, value))
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return any(_holds_non_finite(getattr(value, field.name)) for field in dataclasses.fields(value))
        case _:
            return False
