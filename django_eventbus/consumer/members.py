"""How do the workers of several groups run in one process?"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from .membership import ConsumerFailed, WorkerReport
from .worker import Worker


def run_members(workers: Sequence[Worker], stop: threading.Event, **options: Any) -> list[WorkerReport]:
    """Run workers side by side until `stop` is set or each has ended; one that fails ends the others.

    Options are those of `Worker.run`. Raises ConsumerFailed for the first failure, once all have ended. Without a
    worker, what runs beside them goes on until `stop` is set, unless it was told to end when all is caught up.
    """
    if not workers and not options.get("until_caught_up"):
        while not stop.wait(0.2):  # in slices, so that signals are served
            pass
    if len(workers) == 1:
        return [workers[0].run(stop, **options)]
    reports: list[WorkerReport] = []
    failures: list[BaseException] = []

    def run(worker: Worker) -> None:
        try:
            reports.append(worker.run(stop, **options))
        # The boundary of a worker: the others have to end as well.
        except Exception as exc:  # noqa: BLE001
            failures.append(exc)
            stop.set()

    threads = [threading.Thread(target=run, args=(worker,), name="eventbus-consumer") for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)  # in slices, so that signals are served
    if failures:
        raise ConsumerFailed(f"{type(failures[0]).__name__}: {failures[0]}") from failures[0]
    return reports
