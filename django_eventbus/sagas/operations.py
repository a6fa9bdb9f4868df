"""How does an operator end an instance, undo it, or have a timeout of it come now?

Who may do it is the caller's business; what was done, by whom and why is written down here and in the history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction

from django_eventbus.conf import load
from django_eventbus.exceptions import EventBusError
from django_eventbus.models import OperatorAction, SagaState
from django_eventbus.models.operator_action import OperatorActionKind, VerdictReport
from django_eventbus.models.saga import SagaStatus

from .decision import Decision, Outcome
from .declaration import sagas
from .instance import Instance, Verdict
from .stepping import Stepper
from .store import Cause

Act = Callable[[Stepper, SagaState, Cause], object]


class _Refused(EventBusError):
    """This instance cannot be acted on; the message says why."""


def target_of(row: SagaState) -> str:
    """Name an instance in the records of what operators did."""
    return f"saga {row.saga} {row.key}"


def complete(
    ids: Iterable[int], *, actor: str, reason: str = "", using: str, command_id: UUID | None = None
) -> VerdictReport:
    """End instances here and now: as `completed`, or `compensated` where they compensate. Nothing is published."""

    def act(stepper: Stepper, row: SagaState, cause: Cause) -> None:
        stepper.step(Verdict.COMPLETE, key=row.key, context=None, cause=cause)

    return _carry_out(OperatorActionKind.COMPLETE, act, ids, actor, reason, using, command_id)


def compensate(
    ids: Iterable[int], *, actor: str, reason: str = "", using: str, command_id: UUID | None = None
) -> VerdictReport:
    """Publish the compensations of instances, the latest first, and end them as `compensated`."""

    def act(stepper: Stepper, row: SagaState, cause: Cause) -> None:
        stepper.step(Verdict.COMPENSATE, key=row.key, context=None, cause=cause)

    return _carry_out(OperatorActionKind.COMPENSATE, act, ids, actor, reason, using, command_id)


def fire_timeout(
    instance_id: int, name: str, *, actor: str, reason: str = "", using: str, command_id: UUID | None = None
) -> VerdictReport:
    """Have a timeout come now, through the local queue: one that waits, or one that has come or was cancelled before.

    What waited under this name is cancelled, so that it comes once.
    """

    def act(stepper: Stepper, row: SagaState, cause: Cause) -> None:
        if name not in stepper.declaration.timeouts:
            raise _Refused(f"its saga has no @on_timeout({name!r})")
        stepper.take(lambda instance: _firing(instance, name), key=row.key, cause=cause)

    return _carry_out(OperatorActionKind.FIRE_TIMEOUT, act, [instance_id], actor, reason, using, command_id, name=name)


def _firing(instance: Instance | None, name: str) -> Decision:
    assert instance is not None
    waiting = instance.timeouts.get(name)
    return Decision(
        outcome=Outcome.STEPPED,
        status=instance.status,
        state=instance.state,
        timeouts_set={name: datetime.now(UTC)},
        timeouts_cancelled={} if waiting is None else {name: waiting},
        timeouts_kept={other: armed for other, armed in instance.timeouts.items() if other != name},
        compensations=instance.compensations,
    )


def _carry_out(
    kind: OperatorActionKind,
    act: Act,
    ids: Iterable[int],
    actor: str,
    reason: str,
    using: str,
    command_id: UUID | None,
    *,
    name: str = "",
) -> VerdictReport:
    done: list[int] = []
    refused: dict[int, str] = {}
    command = command_id or uuid4()
    for number in dict.fromkeys(ids):
        try:
            with transaction.atomic(using=using):
                row = _locked(number, using)
                acts = OperatorAction.objects.using(using)
                if not acts.record_on(target_of(row), kind, command_id=command, actor=actor, reason=reason):
                    raise _Refused("this very request was carried out before")
                cause = Cause(message=f"operator: {kind.label} {name}".rstrip(), actor=actor, reason=reason)
                act(_stepper(row, using), row, cause)
        except EventBusError as exc:  # also of a class that cannot read the stored state any more
            refused[number] = str(exc)
        else:
            done.append(number)
    return VerdictReport(done=tuple(done), refused=refused)


def _locked(number: int, using: str) -> SagaState:
    row = SagaState.objects.using(using).select_for_update().filter(pk=number).first()
    if row is None:
        raise _Refused("not found")
    if SagaStatus(row.status).is_final:
        raise _Refused(f"it is {row.status} already")
    return row


def _stepper(row: SagaState, using: str) -> Stepper:
    declaration, config = sagas.find(row.saga), load(getattr(settings, "EVENTBUS", None)).get(row.bus)
    if declaration is None:
        raise _Refused(f"saga {row.saga!r} is not declared here any more")
    if config is None:
        raise _Refused(f"bus {row.bus!r} is not in EVENTBUS")
    if (declaration.using or config.database) != using:
        raise _Refused(f"its saga is kept on database {declaration.using or config.database!r} now")
    return Stepper(declaration=declaration, config=config)
