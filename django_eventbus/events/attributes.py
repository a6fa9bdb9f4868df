"""Which names and values may a CloudEvents attribute have?"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from django_eventbus.exceptions import Undecodable, UndecodableReason

_NAME = re.compile(r"[a-z0-9]{1,20}")
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_URI_REFERENCE = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
# Within a day of the ends of the calendar a moment has no date in some time zones: databases and pages fail to show it.
_EARLIEST = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)
_LATEST = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:[0-5]\d)", re.ASCII)


def is_legal_text(text: str) -> bool:
    """Say whether CloudEvents allows this string: no control character, surrogate or noncharacter."""
    return text.isprintable() or not _FORBIDDEN.search(text)


@lru_cache(1000)  # the same few sources in every message
def is_uri_reference(text: str) -> bool:
    """Say whether the text is made of what RFC 3986 allows in a URI reference, and not empty."""
    return _URI_REFERENCE.fullmatch(text) is not None


def escape_illegal(text: str) -> str:
    """Write illegal characters as escapes, so that a database and our own separator can take any foreign text."""
    if text.isprintable():
        return text
    return _FORBIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def require_name(name: str) -> None:
    """Raise Undecodable unless this can be the name of an attribute."""
    if not _NAME.fullmatch(name) or name == "data":
        raise Undecodable(
            UndecodableReason.BAD_ATTRIBUTE, f"{name!r} is no attribute name: 1 to 20 of a-z and 0-9, not 'data'"
        )


def require_value(name: str, value: str) -> None:
    """Raise Undecodable unless this can be the value of an attribute."""
    if not value:
        raise Undecodable(UndecodableReason.BAD_ATTRIBUTE, f"{name} is empty")
    if not is_legal_text(value):
        raise Undecodable(UndecodableReason.BAD_ATTRIBUTE, f"{name} holds a control character: {value!r:.100}")


def require_uri_reference(name: str, value: str) -> None:
    """Raise Undecodable unless the value is a URI reference."""
    if not is_uri_reference(value):
        raise Undecodable(UndecodableReason.BAD_ATTRIBUTE, f"{name} is no URI reference: {value!r:.100}")


def parse_time(text: str) -> datetime | None:
    """Read an RFC 3339 timestamp, in UTC; raise Undecodable for anything else.

    None for the first and the last day of the calendar, which stand for "no time" in some languages.
    """
    if _TIMESTAMP.fullmatch(text):
        try:
            moment = datetime.fromisoformat(text.upper())
        except ValueError:  # a 13th month, a 25th hour
            pass
        else:
            # In UTC: PostgreSQL takes no offset of 16 hours; a dead letter that it refuses would stop the partition.
            return moment.astimezone(UTC) if _EARLIEST <= moment <= _LATEST else None
    raise Undecodable(UndecodableReason.BAD_ATTRIBUTE, f"time is no RFC 3339 timestamp: {text!r:.100}")
