"""What follows from a message for an instance of a saga? Pure: no database, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from django_eventbus.delivery.cascades import events_in
from django_eventbus.delivery.context import MessageContext
from django_eventbus.models.saga import SagaStatus

from .compensation import Compensation
from .declaration import SagaDeclaration
from .draft import Draft, SagaMisused
from .instance import ArmedTimeout, Instance, Outgoing, Timeout, Verdict
from .transitions import Trigger


class Outcome(Enum):
    """Say what a message did to an instance; the values are stored."""

    STARTED = "started"
    STEPPED = "stepped"
    COMPLETED = "completed"
    COMPENSATING = "compensating"  # the compensations are published; it waits for what confirms them
    COMPENSATED = "compensated"
    NOT_FOUND_HANDLED = "not_found_handled"  # @not_found ran, without an instance or for one that has ended
    IGNORED_LATE = "ignored_late"  # the instance has ended, or the timeout was cancelled or armed anew
    DUPLICATE_START = "duplicate_start"  # the instance exists, and the event does nothing but start
    UNKNOWN_INSTANCE = "unknown_instance"  # there is none, and `Decision.when_unknown` says what to do


CHANGING = frozenset(
    {Outcome.STARTED, Outcome.STEPPED, Outcome.COMPLETED, Outcome.COMPENSATING, Outcome.COMPENSATED},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Say everything that a step does, so that one transaction can do it."""

    outcome: Outcome
    step: str = ""  # name of the method that ran
    status: SagaStatus | None  # after the step; None: there is no instance
    state: Any  # after the step; None where there is none
    published: tuple[Outgoing, ...] = ()  # in this order
    timeouts_set: Mapping[str, datetime]  # to schedule: name -> due
    timeouts_cancelled: Mapping[str, ArmedTimeout]  # to cancel: what waited and is no longer wanted
    timeouts_kept: Mapping[str, ArmedTimeout]  # what waits on; with those of `timeouts_set` the instance's new ones
    compensations: tuple[Compensation, ...]  # after the step, the oldest first
    is_new: bool = False  # the instance is to be inserted
    when_unknown: str = "ignore"  # retry, ignore or dead_letter: what becomes of a message without instance

    @property
    def changes_instance(self) -> bool:
        """Say whether the instance has to be written."""
        return self.outcome in CHANGING


def decide(
    declaration: SagaDeclaration,
    message: object,
    *,
    key: str,
    instance: Instance | None,
    context: MessageContext | None,
    now: datetime,
) -> Decision:
    """Run the method that a message is for and return what it asked for; nothing else has happened.

    The message is an event, a Timeout or a Verdict; an event's key is `declaration.key_of(event)`. Raises what the
    method raises, SagaMisused, IllegalTransition, and NotAnEvent for what the method published and cannot be.
    """
    match message:
        case Verdict():
            return _act(Draft(declaration, key=key, instance=instance, context=context, now=now), message)
        case Timeout():
            return _fire(Draft(declaration, key=key, instance=instance, context=context, now=now), message)
    route = declaration.route(message)
    is_running = instance is not None and not instance.has_ended
    start = route.starts if instance is None else None
    draft = Draft(
        declaration, key=key, instance=instance, context=context, now=now, may_change=is_running or start is not None
    )
    if start is not None:
        draft.begin()
        return _run(draft, start, message, trigger=type(message), is_new=True)
    if is_running:
        if route.continues is None:
            return _settle(draft, Outcome.DUPLICATE_START)
        return _run(draft, route.continues, message, trigger=type(message))
    if route.unmatched is not None:
        _call(draft, route.unmatched, message)
        return _settle(draft, Outcome.NOT_FOUND_HANDLED, step=route.unmatched)
    outcome = Outcome.UNKNOWN_INSTANCE if instance is None else Outcome.IGNORED_LATE
    return _settle(draft, outcome, when_unknown=route.when_unknown)


def _fire(draft: Draft, timeout: Timeout) -> Decision:
    armed = draft.kept.get(timeout.name)
    if draft.has_ended or armed is None or armed.event_id != timeout.event_id:
        return _settle(draft, Outcome.IGNORED_LATE)
    method = draft.declaration.timeouts.get(timeout.name)
    if method is None:
        raise SagaMisused(
            f"Saga {draft.declaration.name} ({draft.key}): timeout {timeout.name!r} is due, and no @on_timeout takes "
            "it any more. Declare it until none waits."
        )
    del draft.kept[timeout.name]
    return _run(draft, method, trigger=timeout.name)


def _act(draft: Draft, verdict: Verdict) -> Decision:
    if draft.status is None or draft.has_ended:
        return _settle(draft, Outcome.IGNORED_LATE)
    match verdict:
        case Verdict.COMPLETE:
            draft.complete()
        case Verdict.COMPENSATE:
            draft.compensate()
    return _settle(draft, _outcome(draft, before=None, is_new=False))


def _run(draft: Draft, method: str, *arguments: object, trigger: Trigger, is_new: bool = False) -> Decision:
    transitions, before = draft.declaration.transitions, draft.status
    stage = None if transitions is None or is_new else transitions.stage_of(draft.state)
    if transitions is not None:
        transitions.require_taken(trigger, before=stage)
    _call(draft, method, *arguments)
    if draft.state is None:
        raise SagaMisused(f"{draft.declaration.name}.{method} started an instance without a state. Assign self.state.")
    if transitions is not None:
        transitions.require_reached(trigger, before=stage, after=transitions.stage_of(draft.state))
    return _settle(draft, _outcome(draft, before=before, is_new=is_new), step=method, is_new=is_new)


def _call(draft: Draft, method: str, *arguments: object) -> None:
    saga = draft.declaration.cls(draft)
    for event in events_in(getattr(saga, method)(*arguments), of=f"{draft.declaration.name}.{method}"):
        draft.publish(event)


def _outcome(draft: Draft, *, before: SagaStatus | None, is_new: bool) -> Outcome:
    match draft.status:
        case SagaStatus.COMPLETED:
            return Outcome.COMPLETED
        case SagaStatus.COMPENSATED:
            return Outcome.COMPENSATED
        case SagaStatus.COMPENSATING if before is not SagaStatus.COMPENSATING:
            return Outcome.COMPENSATING
        case _:
            return Outcome.STARTED if is_new else Outcome.STEPPED


def _settle(draft: Draft, outcome: Outcome, **more: Any) -> Decision:
    return Decision(
        outcome=outcome,
        status=draft.status,
        state=draft.state,
        published=tuple(draft.outgoing),
        timeouts_set=draft.armed,
        timeouts_cancelled=draft.cancelled,
        timeouts_kept=draft.kept,
        compensations=tuple(draft.compensations),
        **more,
    )
