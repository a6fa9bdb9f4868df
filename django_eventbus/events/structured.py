"""How is a CloudEvent in structured mode (one JSON document) read?"""

from __future__ import annotations

from base64 import b64decode

import msgspec

from django_eventbus.exceptions import Undecodable, UndecodableReason

from .attributes import require_name, require_value
from .codec import JSON, is_json, undecodable

STRUCTURED_JSON = "application/cloudevents+json; charset=UTF-8"

_STRUCTURED = "application/cloudevents"
_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_any = msgspec.json.Decoder().decode
_ONLY_TEXT = frozenset({"specversion", "id", "type", "source", "time", "subject", "dataschema", "datacontenttype"})
_INT32 = range(-(1 << 31), 1 << 31)


def is_structured(content_type: str | None) -> bool:
    """Say whether a record with this content type is in structured mode; nothing else decides that."""
    return content_type is not None and content_type.lower().startswith(_STRUCTURED)


def read_structured(value: bytes | None, *, content_type: str) -> tuple[dict[str, str], bytes | None]:
    """Return attributes as text and the exact bytes of the data; raise Undecodable."""
    _require_json_format(content_type)
    if value is None:
        raise Undecodable(UndecodableReason.NOT_CLOUDEVENT, f"content-type is {content_type!r} but there is no value")
    try:
        members = _read_members(value)
    except msgspec.ValidationError as exc:
        raise Undecodable(UndecodableReason.NOT_CLOUDEVENT, "the JSON document is no object") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise undecodable(exc) from exc
    data, encoded = members.pop("data", None), members.pop("data_base64", None)
    attributes: dict[str, str] = {}
    for name, raw in members.items():
        text = _attribute(name, _read(raw))
        if text is not None:
            attributes[name] = text
    return attributes, _data(data, encoded, content_type=attributes.get("datacontenttype", JSON))


def _require_json_format(content_type: str) -> None:
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [part.removeprefix("charset=").strip('"') for part in parameters if part.startswith("charset=")]
    if media != "application/cloudevents+json" or any(
        charset not in {"utf-8", "utf8", "us-ascii"} for charset in charsets
    ):
        raise Undecodable(UndecodableReason.UNSUPPORTED_CONTENT_TYPE, f"{content_type!r:.100} is not JSON in UTF-8")


def _attribute(name: str, value: object) -> str | None:
    require_name(name)
    match value:
        case None:
            return None  # the JSON format says: as if it were not there
        case str():
            require_value(name, value)
            return value
        case bool() if name not in _ONLY_TEXT:
            return "true" if value else "false"
        case int() if name not in _ONLY_TEXT and value in _INT32:
            return str(value)
    raise Undecodable(UndecodableReason.BAD_ATTRIBUTE, f"{name} has a JSON type that it may not have")


def _data(data: msgspec.Raw | None, encoded: msgspec.Raw | None, *, content_type: str) -> bytes | None:
    if data is not None and encoded is not None:
        raise Undecodable(UndecodableReason.BAD_ATTRIBUTE, "data and data_base64 are both there")
    if encoded is not None:
        text = _read(encoded)
        try:
            # Only text: the number 1234 and null, written as text, are base64 too.
            return b64decode(text if isinstance(text, str) else "?", validate=True)
        except ValueError as exc:
            raise Undecodable(UndecodableReason.BAD_ATTRIBUTE, "data_base64 is not base64") from exc
    if data is None:
        return None
    if is_json(content_type):
        return bytes(data)
    value = _read(data)
    return value.encode() if isinstance(value, str) else bytes(data)


def _read(raw: msgspec.Raw) -> object:
    try:
        return _read_any(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise undecodable(exc) from exc
