"""Known bugs of sagas, planted where ``HISTORY_BUG`` names one: a check that does not find them proves nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from tests.history.path.bugs import no_inbox


def no_lock() -> None:
    """Take steps without the row lock, and write them whatever the version."""
    from django_eventbus.models import saga_step
    from django_eventbus.models.saga import SagaStateQuerySet

    find, find_all = SagaStateQuerySet.find, SagaStateQuerySet.find_all
    SagaStateQuerySet.find = lambda self, saga, key, *, locks: find(self, saga, key, locks=False)  # type: ignore[method-assign]
    SagaStateQuerySet.find_all = lambda self, wanted, *, locks: find_all(self, wanted, locks=False)  # type: ignore[method-assign]
    saga_step.MOVES = saga_step.MOVES.replace("AND version = %(version)s - 1 RETURNING id", "RETURNING id, version")
    saga_step.STARTS = saga_step.STARTS.replace("RETURNING id", "RETURNING id, version")
    saga_step.REMEMBERS = saga_step.REMEMBERS.replace("%(version)s", "written.version")


def timeouts_kept() -> None:
    """Let the timeouts of a saga wait on when it ends."""
    from django_eventbus.sagas import stepping

    steps: Any = stepping
    steps.cancel = lambda *arguments, **options: False


def timeouts_believed() -> None:
    """Let timeouts wait on, and run the method of any that comes, also for a saga that has ended."""
    from django_eventbus.models.saga import SagaStatus
    from django_eventbus.sagas import decision

    timeouts_kept()
    decide: Any = decision
    fire = decide._fire

    def firing(draft: Any, timeout: Any) -> Any:
        if draft.status is None:
            return fire(draft, timeout)
        if draft.has_ended:
            draft.status = SagaStatus.RUNNING
        draft.kept.pop(timeout.name, None)
        return decide._run(draft, draft.declaration.timeouts[timeout.name], trigger=timeout.name)

    decide._fire = firing


def timeouts_beside() -> None:
    """Schedule timeouts a while after the transaction of their step."""
    from django.db import transaction

    from django_eventbus.sagas.stepping import Stepper

    fire = Stepper.fire

    def firing(self: Any, name: str, *, using: str, **options: Any) -> None:
        def later() -> None:
            time.sleep(0.02)
            with transaction.atomic(using=using):
                fire(self, name, using=using, **options)

        transaction.on_commit(later, using=using)

    Stepper.fire = firing  # type: ignore[method-assign]


def compensations_forgotten() -> None:
    """Lose what a late success would have undone: nothing is published while the saga compensates."""
    from django_eventbus.models.saga import SagaStatus
    from django_eventbus.sagas.draft import Draft

    add = Draft.add_compensation

    def adding(self: Any, event: object) -> None:
        if self.status is not SagaStatus.COMPENSATING:
            add(self, event)

    Draft.add_compensation = adding  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (no_lock, no_inbox, timeouts_kept, timeouts_believed, timeouts_beside, compensations_forgotten)
}


def plant() -> None:
    if name := os.environ.get("HISTORY_BUG"):
        BUGS[name]()
