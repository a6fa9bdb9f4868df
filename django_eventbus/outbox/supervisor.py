"""What follows when a relay's turn ends with an error: another try, later, or the end of the process?

An outage of database or broker is waited for, however long it lasts. Anything else is a mistake of ours: the relay
starts afresh, and gives up where that keeps happening, so that whoever runs the process can see it end.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import django.db
from django.db import connections

from django_eventbus.exceptions import TransportUnavailable

from .step import TooLate

logger = logging.getLogger(__name__)

SHORTEST_PAUSE = 0.1  # seconds
LONGEST_PAUSE = 2.0
MOST_CRASHES = 5
HEALTHY_AFTER = 30.0  # seconds without a crash after which earlier ones are forgotten


class Supervisor:
    """Count outages and crashes of one relay."""

    def __init__(self, using: str) -> None:
        wrapper: Any = connections[using]
        driver = wrapper.Database
        own = (django.db.OperationalError, django.db.InterfaceError)
        self._outages: tuple[type[Exception], ...] = (
            *own, driver.OperationalError, driver.InterfaceError, driver.InternalError, TransportUnavailable, TooLate,
        )  # fmt: skip
        self._failures = 0
        self._crashes = 0
        self._crashed_at = 0.0

    def is_outage(self, error: Exception) -> bool:
        return isinstance(error, self._outages)

    def pause_after(self, error: Exception) -> float:
        """Return the seconds until the next try; raise the error again where trying has become pointless."""
        if not self.is_outage(error):
            self._note_crash(error)
        return self.pause()

    def pause(self) -> float:
        """Return the seconds to wait after one more failure in a row."""
        self._failures += 1
        return min(LONGEST_PAUSE, SHORTEST_PAUSE * 2.0 ** min(self._failures - 1, 10))

    def recovered(self) -> None:
        """Note that a turn went well."""
        self._failures = 0

    def _note_crash(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._crashed_at > HEALTHY_AFTER:
            self._crashes = 0
        self._crashes += 1
        self._crashed_at = now
        if self._crashes >= MOST_CRASHES:
            raise error
        logger.error("relay crashed, starting afresh crashes=%s", self._crashes, exc_info=error)
