"""What is wrong with a setting, and how is that said without showing a secret?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any

HIDDEN = "********"
_SECRET_NAME = re.compile(r"pass|secret|token|jaas|credential|private|\.key\b|_key\b|key\.pem|signature", re.IGNORECASE)
_URL_LOGIN = re.compile(r"://[^/@\s]*@")
_LONGEST_VALUE = 80


class Severity(Enum):
    """Say who refuses: `load` itself, or only the system checks."""

    ERROR = "error"  # `load` raises: nothing could run with it
    DEPLOYMENT = "deployment"  # it runs, but must not be deployed like this


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Name one wrong setting: where it is, what is wrong, what to do."""

    path: str  # EVENTBUS['default']['OUTBOX']['BATCH_SIZE']
    message: str  # begins with the path
    hint: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


def redacted(options: Mapping[str, Any]) -> dict[str, Any]:
    """Copy client options for showing to people: passwords, tokens and keys are hidden."""
    return {name: HIDDEN if is_secret(name) else _without_login(value) for name, value in options.items()}


def is_secret(name: str) -> bool:
    """Say whether a setting of this name holds something that no one should read."""
    return _SECRET_NAME.search(name) is not None


def shown(name: str, value: object) -> str:
    """Write a refused value for an error message; containers only by type, since they may hold secrets."""
    if is_secret(name):
        return HIDDEN
    if isinstance(value, Mapping | list | tuple | set) and value:
        return f"a {type(value).__name__}"
    text = repr(_without_login(value))
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def likely(word: str, known: Iterable[str]) -> str | None:
    """Find the known word that was probably meant, whatever its case."""
    by_lower = {name.lower(): name for name in known}
    matches = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def _without_login(value: Any) -> Any:
    return _URL_LOGIN.sub(f"://{HIDDEN}@", value) if isinstance(value, str) else value
