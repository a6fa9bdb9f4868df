"""How do librdkafka's log lines reach Python's logging without flooding it?"""

from __future__ import annotations

import logging
import threading
import time

logger = logging.getLogger("django_eventbus.kafka")

_DELIBERATE = "enable.gapless.guarantee is experimental"  # order hangs on it; the warning would only worry


class RateLimit(logging.Filter):
    """Let one line of a kind pass per interval: a wrong password alone is worth ten lines a second."""

    def __init__(self, *, interval: float = 10.0) -> None:
        super().__init__()
        self._interval = interval
        self._lock = threading.Lock()  # protects _seen
        self._seen: dict[tuple[int, str], tuple[float, int]] = {}  # kind -> when one passed, how many were held back

    def filter(self, record: logging.LogRecord) -> bool:
        """Pass the first line of a kind; the next one that passes says how many were held back."""
        text = record.getMessage()
        if text.startswith("CONFWARN") and _DELIBERATE in text:
            return False
        kind, now = (record.levelno, text.partition(" ")[0]), time.monotonic()
        with self._lock:
            passed_at, held_back = self._seen.get(kind, (-self._interval, 0))
            if now - passed_at < self._interval:
                self._seen[kind] = (passed_at, held_back + 1)
                return False
            self._seen[kind] = (now, 0)
        if held_back:
            record.msg, record.args = f"{text} (held_back={held_back})", ()
        return True


if not any(isinstance(existing, RateLimit) for existing in logger.filters):
    logger.addFilter(RateLimit())
