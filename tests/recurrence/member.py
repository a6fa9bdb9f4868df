"""One of several processes that publish what recurs: `python -m tests.recurrence.member PART`.

Each occurrence leaves an effect of this process, in its own transaction, beside its event.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import datetime, timedelta
from typing import Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402

from django_eventbus import buses, recurring  # noqa: E402
from django_eventbus.models import RecurringEvent  # noqa: E402
from django_eventbus.recurrence.registry import recurrings  # noqa: E402
from django_eventbus.recurrence.runner import RecurringRunner  # noqa: E402
from tests.recurrence.recurring_events import Ticked  # noqa: E402
from tests.shop.models import Effect  # noqa: E402


@recurring(every=timedelta(seconds=1), name="tests.second", missed="all")
def second(at: datetime) -> Ticked:
    Effect.objects.create(handler=str(os.getpid()), number=int(at.timestamp()) % 1_000_000)
    if sys.argv[1] == "freeze" and not RecurringEvent.objects.get(name="tests.second").last_at:
        os.kill(os.getpid(), signal.SIGSTOP)
    return Ticked(name="second", at=at)


def race() -> None:
    """Publish without a relay's locks, as fast as the row's lock allows, until nothing is due any more."""
    config = buses["default"].config
    RecurringRunner(config, recurrings.all()).run_due()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    ends_at = time.monotonic() + 60
    while time.monotonic() < ends_at:
        # A runner of its own each time: whoever found the row taken comes back at once, not in a second.
        RecurringRunner(config, recurrings.all()).run_due()
        if RecurringEvent.objects.filter(name="tests.second", is_paused=True, last_at__isnull=False).exists():
            return


def relay() -> None:
    call_command("drain_outbox", verbosity=0)


def freeze() -> None:
    relay()


def die_before_the_commit() -> None:
    arrive = RecurringEvent.arrive

    def arrive_and_die(row: RecurringEvent, **times: Any) -> None:
        arrive(row, **times)
        os.kill(os.getpid(), signal.SIGKILL)

    RecurringEvent.arrive = arrive_and_die  # type: ignore[assignment, method-assign]
    relay()


def die_after_the_commit() -> None:
    RecurringRunner._announce = lambda *args: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
    relay()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
