"""Which text can every database store and index?"""

from __future__ import annotations

LONGEST_NAME = 500  # characters: an index entry of PostgreSQL holds 2704 bytes, foreign names may be longer
LONGEST_MESSAGE = 10_000
LONGEST_TRACEBACK = 20_000


def storable(text: str, *, limit: int) -> str:
    """Return text that a text column takes: no NUL, no lone surrogates, not longer than `limit`; else unchanged."""
    clean = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return clean if len(clean) <= limit else f"{clean[: limit - 3]}..."
