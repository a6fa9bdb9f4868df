"""How can Celery workers be the relay, and run the handlers that are declared `handle_in="celery"`?

`WAKE_WITH = "celery"` sends the task of the relay after commits; `beat_schedule()` repeats it, for what a lost task
left behind. The tasks of handlers are sent again by whoever consumes the partition.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from celery import shared_task
from kombu.exceptions import KombuError

from django_eventbus.bus import DEFAULT, buses
from django_eventbus.conf import BusConfig
from django_eventbus.delivery.handover import Task, register_courier
from django_eventbus.outbox.notifier import notifiers
from django_eventbus.outbox.wakeup import register_waker

TASK = "django_eventbus.drain_outbox"
HANDLER_TASK = "django_eventbus.handle"
UNREACHABLE: tuple[type[Exception], ...] = (KombuError, OSError)

logger = logging.getLogger(__name__)


@shared_task(name=TASK, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def drain_outbox(bus: str = DEFAULT, timeout: float = 60.0) -> dict[str, Any]:
    """Relay until the outbox of a bus is empty, for at most `timeout` seconds; two at once take turns."""
    report = buses[bus].open_relay().run(threading.Event(), until_empty=True, timeout=timeout)
    return {"sent": report.sent, "dead_lettered": report.dead_lettered, "is_empty": report.is_empty}


@shared_task(name=HANDLER_TASK, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def handle(*, handler: str, attempt: int, key: str, bus: str, group: str, using: str) -> None:
    """Run a handler for the message in this row; a second task for it does nothing."""
    task = Task(place="celery", bus=bus, group=group, handler=handler, using=using, key=UUID(hex=key), attempt=attempt)
    buses[bus].run_task(task)


def beat_schedule(*, every: timedelta = timedelta(minutes=1), bus: str = DEFAULT) -> dict[str, Any]:
    """Return an entry for Celery's `beat_schedule`: it relays what no commit has woken anybody for."""
    options = {"expires": every.total_seconds()}  # a worker that comes back must not find a day's tasks
    return {f"{TASK}-{bus}": {"task": TASK, "schedule": every, "kwargs": {"bus": bus}, "options": options}}


class CeleryBell:
    """Send the task; commits within the window share one."""

    window = timedelta(milliseconds=100)
    errors = UNREACHABLE

    def __init__(self, bus: str) -> None:
        self._bus = bus

    def ring(self) -> None:
        drain_outbox.apply_async(kwargs={"bus": self._bus}, retry=False)

    def close(self) -> None:
        """Do nothing: the connections belong to Celery's pool."""


class CeleryCourier:
    """Send the tasks of handlers. While Celery's broker is away, none is tried for some seconds."""

    pause = 5.0

    def __init__(self) -> None:
        self._quiet_until = 0.0

    def __call__(self, tasks: Sequence[Task]) -> None:
        if time.monotonic() < self._quiet_until:
            return
        for task in tasks:
            try:
                handle.apply_async(kwargs=_arguments(task), retry=False)
            except UNREACHABLE as exc:
                self._quiet_until = time.monotonic() + self.pause
                logger.warning("tasks not sent, so sent again after the timeout of their handlers error=%s", exc)
                return


def _arguments(task: Task) -> dict[str, Any]:
    return {
        "handler": task.handler,
        "attempt": task.attempt,
        "key": task.key.hex,
        "bus": task.bus,
        "group": task.group,
        "using": task.using,
    }


def _send(config: BusConfig, using: str) -> None:
    notifiers.of(f"celery-{config.alias}", lambda: CeleryBell(config.alias)).request()


register_waker("celery", _send)
register_courier("celery", CeleryCourier())
