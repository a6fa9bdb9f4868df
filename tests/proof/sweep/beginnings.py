"""What is there before the act of a scenario?"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from django.db import transaction

from django_eventbus.consumer.due import DueLanes
from django_eventbus.models import PartitionEpoch, RecurringEvent
from django_eventbus.transports.base import TopicPartition
from tests.proof.sweep.acts import consume, operate, publish_one, publish_steps, relay, settle
from tests.proof.sweep.events import Stepped
from tests.proof.sweep.journal import journal
from tests.proof.sweep.scenario import Scenario
from tests.proof.sweep.settings import folder
from tests.proof.sweep.upkeep import OCCURRENCES, UNWANTED, recur


def refuse(scenario: Scenario) -> None:
    for key, number, kind, times in scenario.refused:
        journal().refuse(key=key, number=number, kind=kind, times=times)


def published(scenario: Scenario) -> None:
    refuse(scenario)
    publish_steps(scenario)


def sent(scenario: Scenario) -> None:
    published(scenario)
    relay()
    for number in range(scenario.unreadable):
        place = TopicPartition("sweep.steps", 0)
        journal().write(place, key=b"plain", value=b"\xff", headers={"ce_specversion": "1.0", "ce_id": str(number)})


def left_unclean(scenario: Scenario) -> None:
    """Let the last owner of each partition have died, so that the next one goes carefully."""
    consume()
    PartitionEpoch.objects.update(is_clean=False)
    sent(scenario)


def waited(scenario: Scenario) -> None:
    """Let the time come of what was published for later."""
    published(scenario)
    time.sleep(scenario.delay or 0)


def opened(scenario: Scenario) -> None:
    """Start a saga, and let the time of its timeout come."""
    begun(scenario)
    time.sleep(0.2)


def begun(scenario: Scenario) -> None:
    """Start a saga."""
    sent(scenario)
    consume()


def recurring(scenario: Scenario) -> None:
    """Let three occurrences be due."""
    recur(scenario)
    first = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=OCCURRENCES - 1)
    RecurringEvent.objects.update(next_at=first, available_at=first)


def failed_once(scenario: Scenario) -> None:
    """Handle everything once, and leave what is to be retried to the act; this process ends after it."""
    sent(scenario)
    DueLanes.find = lambda self: iter(())  # type: ignore[method-assign]
    consume()


def dead(scenario: Scenario) -> None:
    """Let all of it end, mend the cause, and leave the rest to the operator."""
    sent(scenario)
    settle(scenario)
    journal().heal()
    if scenario.is_mended:
        (folder() / "healed").touch()


def revived(scenario: Scenario) -> None:
    dead(scenario)
    operate(scenario)


def postponed(scenario: Scenario) -> None:
    """Let much wait that somebody will want at once, and one event that nobody will want."""
    publish_steps(scenario)
    with transaction.atomic():
        publish_one(Stepped, UNWANTED, 1, delay=scenario.delay)
