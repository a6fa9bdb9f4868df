"""Where a process kills itself: ``KILL_AT`` names the point, ``KILL_AFTER`` how often it is passed before."""

from __future__ import annotations

import os
import signal
from typing import Any

AT = os.environ.get("KILL_AT", "")
_left = int(os.environ.get("KILL_AFTER", "0"))


def point(name: str) -> None:
    """Perhaps die here."""
    global _left
    if name == AT:
        _left -= 1
        if _left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def arm() -> None:
    """Put the points into a step; only in a process that asked for one."""
    if not AT:
        return
    from django_eventbus.consumer import unit
    from django_eventbus.sagas import stepping, store

    steps: Any = stepping
    commit, load, save = unit.Unit._commit, store.Store.load, store.Store.save

    def after(name: str, function: Any) -> Any:
        def wrapped(*args: Any, **options: Any) -> Any:
            result = function(*args, **options)
            point(name)
            return result

        return wrapped

    def committing(self: Any) -> None:
        point("before commit")
        commit(self)
        point("after commit")

    unit.Unit._commit = committing  # type: ignore[method-assign]
    store.Store.load = after("loaded", load)  # type: ignore[method-assign]
    store.Store.save = after("saved", save)  # type: ignore[method-assign]
    steps.Stepper.fire = after("scheduled", steps.Stepper.fire)
    steps.publish = after("published", steps.publish)
    steps.cancel = after("cancelled", steps.cancel)
