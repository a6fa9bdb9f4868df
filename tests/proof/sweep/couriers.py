"""How do tasks get to handlers that run in no consumer? By a file, from which a worker takes all that is there at once.

A worker that dies has lost what it took, as one may that acknowledges early.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from uuid import UUID

from django_eventbus.bus import buses
from django_eventbus.delivery.handover import Task, register_courier
from tests.proof.sweep.points import points
from tests.proof.sweep.settings import folder


def carry_tasks() -> None:
    """Carry out the tasks that were sent."""
    path, mine = folder() / "tasks", folder() / "tasks.taken"
    if not path.exists():
        return
    with points.point("take tasks"):
        path.replace(mine)
    for line in mine.read_text().splitlines():
        told = json.loads(line)
        task = Task(**{**told, "key": UUID(told["key"])})
        buses[task.bus].run_task(task)


def send(tasks: Sequence[Task]) -> None:
    for task in tasks:
        line = json.dumps({**asdict(task), "key": str(task.key)}) + "\n"
        with points.point(f"task {task.handler}"), (folder() / "tasks").open("ab", buffering=0) as handle:
            handle.write(line.encode())


register_courier("celery", send)
