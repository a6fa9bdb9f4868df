"""A step that is handled inside the service, and what other services are told of it."""

from __future__ import annotations

from django_eventbus.events.contract import event
from django_eventbus.events.domain import domain_event

FATEFUL = 3  # number of the step at which the first process that handles it stands still


@domain_event("inside.walks.step-taken", dispatch="queued", key="walk")
class StepTaken:
    walk: str
    number: int


@event("inside.walks.step-told", entity="step", key="walk")
class StepTold:
    walk: str
    number: int
