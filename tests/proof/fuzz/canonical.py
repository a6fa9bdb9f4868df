"""Under which text are two decoded events the same, whoever decoded them?"""

from __future__ import annotations

import dataclasses
from datetime import datetime
from decimal import Decimal
from enum import Enum
from hashlib import md5
from typing import Any
from uuid import UUID


def canonical(value: Any) -> str:
    """Write a value so that every difference of type or content shows."""
    match value:
        case None | bool() | float():
            return repr(value)
        case Enum():
            return f"e{value.value}"
        case str():
            return f"s{len(value)}:{value}"
        case int():
            return f"i{value}"
        case Decimal():
            return f"d{value}"
        case UUID():
            return f"u{value}"
        case datetime():
            return f"t{value.isoformat()}"
        case list():
            return f"[{','.join(map(canonical, value))}]"
        case dict():
            return f"{{{','.join(f'{canonical(key)}={canonical(value[key])}' for key in sorted(value))}}}"
        case _ if dataclasses.is_dataclass(value):
            parts = (f"{field.name}={canonical(getattr(value, field.name))}" for field in dataclasses.fields(value))
            return f"({','.join(sorted(parts))})"
    raise TypeError(f"no canonical text for {value!r}")


def digest(text: str) -> UUID:
    """Return what the table of effects holds of a canonical text."""
    return UUID(md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest())
