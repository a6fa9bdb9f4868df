"""The loop of async handlers tells when it ends before its time."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Any, cast

from django_eventbus.consumer.asynchronous import EventLoop, Job


def test_a_loop_that_breaks_does_not_do_so_in_silence() -> None:
    told: SimpleQueue[BaseException] = SimpleQueue()
    loop = EventLoop(cast("Any", None), slots=1, on_defect=told.put)
    loop.start()

    def breaks(failure: BaseException | None) -> None:
        raise LookupError("broken")

    loop.submit(Job(work=(), done=breaks))

    assert str(told.get(timeout=10)) == "broken"
