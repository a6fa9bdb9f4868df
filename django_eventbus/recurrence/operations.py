"""How does an operator hold back what recurs, let it go on, or have it happen now?

Who may do it is the caller's business; what was done, by whom and why is written down here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction

from django_eventbus.conf import BusConfig, load
from django_eventbus.exceptions import EventBusError
from django_eventbus.models import OperatorAction
from django_eventbus.models.operator_action import OperatorActionKind, VerdictReport
from django_eventbus.models.recurring import RecurringEvent

from .publishing import publish_occurrence
from .registry import Recurring, recurrings
from .runner import utc_now


class _Refused(EventBusError):
    """This row cannot be acted on; the message says why."""


def target_of(name: str, *, bus: str) -> str:
    """Name what recurs in the records of what operators did."""
    return f"recurring {name} on {bus}"


def declared_of(row: RecurringEvent) -> Recurring | None:
    """Return what the code says of a row; None where it says nothing any more."""
    found = recurrings.find(row.name)
    return None if found is None or found.bus != row.bus else found


def pause(
    ids: Iterable[int], *, actor: str, reason: str = "", using: str, command_id: UUID | None = None
) -> VerdictReport:
    """Let no occurrence happen until `resume`; one that is being published at this moment is waited for."""
    return _carry_out(OperatorActionKind.PAUSE, _pause, ids, actor, reason, using, command_id)


def resume(
    ids: Iterable[int], *, actor: str, reason: str = "", using: str, command_id: UUID | None = None
) -> VerdictReport:
    """Go on with the next occurrence to come: those that fell into the pause do not happen."""
    return _carry_out(OperatorActionKind.RESUME, _resume, ids, actor, reason, using, command_id)


def run_now(
    ids: Iterable[int], *, actor: str, reason: str = "", using: str, command_id: UUID | None = None
) -> VerdictReport:
    """Publish an occurrence of its own for this moment, here and not in a relay.

    What is planned stays planned, and a pause stays one. A function that raises has published nothing.
    """
    return _carry_out(OperatorActionKind.RUN_NOW, _run_now, ids, actor, reason, using, command_id)


def _carry_out(
    kind: OperatorActionKind,
    act: Callable[[RecurringEvent], None],
    ids: Iterable[int],
    actor: str,
    reason: str,
    using: str,
    command_id: UUID | None,
) -> VerdictReport:
    done: list[int] = []
    refused: dict[int, str] = {}
    command = command_id or uuid4()
    for pk in dict.fromkeys(ids):
        try:
            with transaction.atomic(using=using):
                row = _locked(pk, using)
                target = target_of(row.name, bus=row.bus)
                acts = OperatorAction.objects.using(using)
                if not acts.record_on(target, kind, command_id=command, actor=actor, reason=reason):
                    raise _Refused("this very request was carried out before")
                act(row)
        except _Refused as exc:
            refused[pk] = str(exc)
        except Exception as exc:  # noqa: BLE001  a function of the user's: what it raises is the answer to the operator
            refused[pk] = f"nothing was published: {type(exc).__name__}: {exc}"
        else:
            done.append(pk)
    return VerdictReport(done=tuple(done), refused=refused)


def _pause(row: RecurringEvent) -> None:
    if row.is_paused:
        raise _Refused("it is paused already")
    row.pause()


def _resume(row: RecurringEvent) -> None:
    if not row.is_paused:
        raise _Refused("it is not paused")
    row.resume(next_at=_declared(row).schedule.after(utc_now()))


def _run_now(row: RecurringEvent) -> None:
    config = _buses().get(row.bus)
    if config is None:
        raise _Refused(f"bus {row.bus!r} is not in EVENTBUS")
    publish_occurrence(config, _declared(row), at=utc_now())


def _locked(pk: int, using: str) -> RecurringEvent:
    row = RecurringEvent.objects.using(using).lock(pk)
    if row is None:
        raise _Refused("not found")
    return row


def _declared(row: RecurringEvent) -> Recurring:
    found = declared_of(row)
    if found is None:
        raise _Refused(f"{row.name} is no longer declared on bus {row.bus!r}")
    return found


def _buses() -> Mapping[str, BusConfig]:
    return load(getattr(settings, "EVENTBUS", None))
