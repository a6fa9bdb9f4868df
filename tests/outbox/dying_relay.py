"""A relay that kills itself, with SIGKILL, at one point of the way of a message that has fallen due.

Run as ``python -m tests.outbox.dying_relay POINT``, with the environment of a child of the suite.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import django
from django.core.management import call_command

POINTS = ("before the move commits", "before it is sent", "after it is sent")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying_after(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)
        die()

    return call


def main(point: str) -> None:
    django.setup()
    from django_eventbus.models.relay_scheduled import PlainSchedule, RelaySchedule
    from tests.outbox.file_transport import FileSender

    match point:
        case "before the move commits":
            RelaySchedule.move = dying_after(RelaySchedule.move)  # type: ignore[method-assign]
            PlainSchedule.move = dying_after(PlainSchedule.move)  # type: ignore[method-assign]
        case "before it is sent":
            FileSender.send = lambda *args, **kwargs: die()  # type: ignore[method-assign, assignment]
        case "after it is sent":
            FileSender.send = dying_after(FileSender.send)  # type: ignore[method-assign]
    call_command("drain_outbox", until_empty=True)


if __name__ == "__main__":
    main(sys.argv[1])
