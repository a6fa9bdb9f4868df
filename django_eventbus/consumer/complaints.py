"""Which of a broker's complaints are news?"""

from __future__ import annotations

import logging
import time

logger = logging.getLogger(__name__)

REPEATED_AFTER = 10.0  # seconds; a broker that is down is worth no line a second


class Complaints:
    """Log each kind of error at most once in a while, and how often it came meanwhile."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._seen: dict[str, tuple[float, int]] = {}  # code -> when it was logged, how often it came since

    def hear(self, code: str, reason: str) -> None:
        """Take an error note of, and log it if it is news."""
        logged_at, held_back = self._seen.get(code, (-REPEATED_AFTER, 0))
        now = time.monotonic()
        if now - logged_at < REPEATED_AFTER:
            self._seen[code] = (logged_at, held_back + 1)
            return
        self._seen[code] = (now, 0)
        more = f" held_back={held_back}" if held_back else ""
        logger.warning("consumer error group=%s code=%s reason=%s%s", self._group, code, reason, more)
