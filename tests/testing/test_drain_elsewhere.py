"""`drain()` runs handlers of other processes too, in the test's own transaction."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from django_eventbus import domain_event, event, handler, publish
from django_eventbus.exceptions import Reject
from django_eventbus.models import DeadLetter, RetryMessage
from django_eventbus.testing import drain
from tests.shop.models import Effect

KAFKA = {"TRANSPORT": "kafka", "SERVICE": "s", "ENVIRONMENT": "e", "OPTIONS": {"bootstrap.servers": "127.0.0.1:1"}}


def note(event: Any) -> None:
    Effect.objects.create(handler="note", number=event.number)


@pytest.mark.django_db
def test_what_celery_would_run_runs_here_and_now() -> None:
    @event("tests.elsewhere.counted", topic="counts", domain="tests", key="number")
    class Counted:
        number: int

    handler(Counted, name="tests.note", handle_in="celery")(note)
    with transaction.atomic():
        publish(Counted(number=1))

    report = drain()

    assert (report.handled, report.waiting) == (1, 0)
    assert Effect.objects.get().number == 1


@pytest.mark.django_db
def test_its_failure_is_a_failure_of_the_drain() -> None:
    @event("tests.elsewhere.counted", topic="counts", domain="tests", key="number")
    class Counted:
        number: int

    def refuse(event: Any) -> None:
        raise Reject("no")

    handler(Counted, name="tests.refuse", handle_in="celery")(refuse)
    with transaction.atomic():
        publish(Counted(number=1))

    with pytest.raises(Reject):
        drain(raise_errors=True)
    assert DeadLetter.objects.get().handler == "tests.refuse"


@pytest.mark.django_db
def test_a_queued_domain_event_may_be_handled_elsewhere(settings: Any) -> None:
    settings.EVENTBUS = {"default": KAFKA}

    @domain_event("tests.elsewhere.noticed", dispatch="queued", key="number")
    class Noticed:
        number: int

    handler(Noticed, name="tests.note", handle_in="celery")(note)
    with transaction.atomic():
        publish(Noticed(number=2))

    drain()

    assert Effect.objects.get().number == 2
    assert not RetryMessage.objects.exists()
