"""How does an operator call back, or hasten, messages that wait for their time?

Who may do it is the caller's business; what was done, by whom and why is written down here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from django_eventbus.conf import BusConfig, load
from django_eventbus.models import OperatorAction, ScheduledMessage
from django_eventbus.models.control import bus_number
from django_eventbus.models.operator_action import OperatorActionKind, VerdictReport

from .wakeup import wake_after_commit

GONE = "it waits no longer"
REPEATED = "this very request was carried out before"


def call_back(
    ids: Iterable[int], *, actor: str, reason: str = "", using: str, command_id: UUID | None = None
) -> VerdictReport:
    """Delete messages that still wait: they are never sent. One transaction."""
    return _carry_out(OperatorActionKind.CANCEL, ids, actor, reason, using, command_id)


def deliver_now(
    ids: Iterable[int], *, actor: str, reason: str = "", using: str, command_id: UUID | None = None
) -> VerdictReport:
    """Let messages that still wait be due at once; those that are due already go first. One transaction."""
    return _carry_out(OperatorActionKind.DELIVER_NOW, ids, actor, reason, using, command_id)


def _carry_out(
    kind: OperatorActionKind, ids: Iterable[int], actor: str, reason: str, using: str, command_id: UUID | None
) -> VerdictReport:
    wanted, command = list(dict.fromkeys(ids)), command_id or uuid4()
    with transaction.atomic(using=using):
        rows, log = ScheduledMessage.objects.using(using), OperatorAction.objects.using(using)
        waiting = rows.filter(pk__in=wanted).select_for_update().order_by("pk").defer("headers", "payload")
        found = {message.pk: message for message in waiting}
        # Under the locks of the rows. What this request did before may have been another act: that is the recorded one.
        taken = log.already_taken_on(command, map(_target_of, found.values()))
        accepted = {number: message for number, message in found.items() if _target_of(message) not in taken}
        _act(kind, accepted, using)
        targets = map(_target_of, accepted.values())
        log.record_on_many(targets, kind, command_id=command, actor=actor, reason=reason)
    refused = {number: REPEATED if number in found else GONE for number in wanted if number not in accepted}
    return VerdictReport(done=tuple(accepted), refused=refused)


def _act(kind: OperatorActionKind, messages: Mapping[int, ScheduledMessage], using: str) -> None:
    rows = ScheduledMessage.objects.using(using).filter(pk__in=messages)
    if kind is OperatorActionKind.CANCEL:
        rows.delete()
        return
    rows.update(due_at=Now())
    for queue in _queues({message.bus for message in messages.values()}, using):
        wake_after_commit(queue, using)


def _target_of(message: ScheduledMessage) -> str:
    return f"scheduled {message}"


def _queues(buses: Collection[int], using: str) -> Iterator[BusConfig]:
    for config in load(getattr(settings, "EVENTBUS", None)).values():
        if config.database == using:
            yield from (queue for queue in config.queues if bus_number(queue.alias, using) in buses)
