"""How can Celery workers be the relay, so that no process of its own has to run?

`WAKE_WITH = "celery"` sends the task after commits; `beat_schedule()` repeats it, for what a lost task left behind.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

from celery import shared_task
from kombu.exceptions import KombuError

from django_eventbus.bus import DEFAULT, buses
from django_eventbus.conf import BusConfig
from django_eventbus.outbox.notifier import notifiers
from django_eventbus.outbox.wakeup import register_waker

TASK = "django_eventbus.drain_outbox"


@shared_task(name=TASK, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def drain_outbox(bus: str = DEFAULT, timeout: float = 60.0) -> dict[str, Any]:
    """Relay until the outbox of a bus is empty, for at most `timeout` seconds; two at once take turns."""
    report = buses[bus].open_relay().run(threading.Event(), until_empty=True, timeout=timeout)
    return {"sent": report.sent, "dead_lettered": report.dead_lettered, "is_empty": report.is_empty}


def beat_schedule(*, every: timedelta = timedelta(minutes=1), bus: str = DEFAULT) -> dict[str, Any]:
    """Return an entry for Celery's `beat_schedule`: it relays what no commit has woken anybody for."""
    options = {"expires": every.total_seconds()}  # a worker that comes back must not find a day's tasks
    return {f"{TASK}-{bus}": {"task": TASK, "schedule": every, "kwargs": {"bus": bus}, "options": options}}


class CeleryBell:
    """Send the task; commits within the window share one."""

    window = timedelta(milliseconds=100)
    errors: tuple[type[Exception], ...] = (KombuError, OSError)

    def __init__(self, bus: str) -> None:
        self._bus = bus

    def ring(self) -> None:
        drain_outbox.apply_async(kwargs={"bus": self._bus}, retry=False)

    def close(self) -> None:
        """Do nothing: the connections belong to Celery's pool."""


def _send(config: BusConfig, using: str) -> None:
    notifiers.of(f"celery-{config.alias}", lambda: CeleryBell(config.alias)).request()


register_waker("celery", _send)
