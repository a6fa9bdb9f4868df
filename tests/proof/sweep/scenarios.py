"""What is swept? A scenario joins by its entry in SCENARIOS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

from django_eventbus.models import OperatorAction, SagaState, ScheduledMessage, SentMessage
from django_eventbus.transports.base import FailureKind
from tests.proof.sweep.acts import (
    carry_queue,
    consume,
    hand_over,
    operate,
    publish_steps,
    published_and_carried,
    relay,
    retry,
)
from tests.proof.sweep.beginnings import (
    begun,
    dead,
    failed_once,
    left_unclean,
    opened,
    postponed,
    published,
    recurring,
    revived,
    sent,
    waited,
)
from tests.proof.sweep.events import Advanced, Awaited, Handed, Listed, Opened, Stepped, Tallied
from tests.proof.sweep.models import Tally
from tests.proof.sweep.scenario import Scenario, Steps
from tests.proof.sweep.upkeep import OCCURRENCES, fire, hasten, purge, reconsider, recur, undo

STEPS: Steps = ((Stepped, "plain", 2), (Stepped, "flaky", 3), (Stepped, "echo", 1))
TROUBLE: Steps = ((Stepped, "deadly", 3), (Stepped, "held", 3))
LOCAL = {"TRANSPORT": "local", "OUTBOX": {"WAKE_WITH": "poll"}}
REFUSALS = (
    ("plain", 1, FailureKind.PERMANENT, -1),
    ("flaky", 1, FailureKind.OTHER, 2),
    ("echo", 1, FailureKind.TOPIC, 1),
)


def has_ended(*, count: int, status: str = "completed") -> Iterator[str]:
    """Look at the one saga: it took each step once, and nothing of it waits."""
    for found, state in SagaState.objects.values_list("status", "state"):
        if (found, json.loads(state or "{}")) != (status, {"count": count}):
            yield f"a saga is {found} with {state}"
    if (there := SagaState.objects.count()) != 1:
        yield f"{there} sagas"
    if waiting := ScheduledMessage.objects.count():
        yield f"{waiting} timeouts wait"


def has_counted() -> Iterator[str]:
    """Look at the rows that a handler keeps: what failed is not in them."""
    if (there := dict(Tally.objects.values_list("key", "count"))) != {"flaky": 3, "deadly": 2}:
        yield f"counted {there}"


def acted(*, times: int) -> Iterator[str]:
    """Look at what the operator is said to have done."""
    if (there := OperatorAction.objects.count()) != times:
        yield f"{there} acts of the operator, not {times}"


def kept() -> Iterator[str]:
    if there := SentMessage.objects.count():
        yield f"{there} events of the archive are not forgotten"


SCENARIOS: dict[str, Scenario] = {
    "publish": Scenario(act=publish_steps, steps=STEPS),
    "relay": Scenario(prepare=published, act=relay, steps=STEPS),
    "relay-kafka": Scenario(prepare=published, act=relay, steps=STEPS, is_on_kafka=True),
    "relay-archive": Scenario(prepare=published, act=relay, steps=STEPS, settings={"OUTBOX": {"RETENTION": 3600}}),
    "relay-refused": Scenario(prepare=published, act=relay, steps=STEPS, refused=REFUSALS),
    "relay-held": Scenario(
        prepare=published, act=relay, steps=STEPS, refused=REFUSALS, settings={"OUTBOX": {"ON_DEAD_LETTER": "hold_key"}}
    ),
    "consume": Scenario(prepare=sent, act=consume, steps=STEPS, unreadable=1),
    "consume-list": Scenario(prepare=sent, act=consume, steps=((Listed, "plain", 2), (Listed, "deadly", 3))),
    "consume-async": Scenario(prepare=sent, act=consume, steps=((Awaited, "flaky", 3), (Awaited, "deadly", 3))),
    "consume-carefully": Scenario(prepare=left_unclean, act=consume, steps=STEPS),
    "tally": Scenario(
        prepare=sent, act=consume, steps=((Tallied, "flaky", 3), (Tallied, "deadly", 3)), check=has_counted
    ),
    "retry": Scenario(prepare=failed_once, act=retry, steps=STEPS),
    "dead-letter": Scenario(prepare=failed_once, act=retry, steps=TROUBLE),
    "replay": Scenario(prepare=dead, act=operate, steps=TROUBLE, is_mended=True),
    "replayed": Scenario(prepare=revived, act=retry, steps=TROUBLE, is_mended=True),
    "discard": Scenario(prepare=dead, act=operate, steps=TROUBLE, is_discarded=True),
    "replay-refused": Scenario(prepare=dead, act=operate, steps=STEPS, refused=REFUSALS[:1], is_mended=True),
    "schedule": Scenario(act=publish_steps, steps=STEPS, delay=0.3),
    "scheduled": Scenario(prepare=waited, act=relay, steps=STEPS, delay=0.3),
    "recurring": Scenario(prepare=recurring, act=recur, steps=((Stepped, "tick", OCCURRENCES),)),
    "saga": Scenario(
        prepare=sent,
        act=consume,
        steps=((Opened, "flaky trip", 1), (Advanced, "flaky trip", 2)),
        check=partial(has_ended, count=2),
    ),
    "saga-timeout": Scenario(
        prepare=opened, act=carry_queue, steps=((Opened, "short", 1),), timeouts=1, check=partial(has_ended, count=100)
    ),
    "compensate": Scenario(
        prepare=begun, act=undo, steps=((Opened, "echo", 1),), check=partial(has_ended, count=0, status="compensated")
    ),
    "fire-timeout": Scenario(
        prepare=begun, act=fire, steps=((Opened, "plain", 1),), timeouts=1, check=partial(has_ended, count=100)
    ),
    "called-back": Scenario(prepare=postponed, act=reconsider, steps=STEPS, delay=3600),
    "hastened": Scenario(prepare=postponed, act=hasten, steps=STEPS, delay=3600, check=partial(acted, times=7)),
    "handed-over": Scenario(prepare=sent, act=hand_over, steps=((Handed, "flaky", 3), (Handed, "deadly", 3))),
    "purge": Scenario(
        prepare=dead, act=purge, steps=TROUBLE, settings={"OUTBOX": {"RETENTION": 3600}}, is_forgotten=True, check=kept
    ),
    "local": Scenario(act=published_and_carried, steps=STEPS + TROUBLE, settings=LOCAL),
}
