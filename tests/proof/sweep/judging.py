"""What is wrong with the world after a death and a recovery? Compare tables and journal with the plan."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from django_eventbus.bus import buses
from django_eventbus.models import DeadLetter, InboxMessage, OperatorAction, OutboxMessage, ParkedMessage, RetryMessage
from django_eventbus.models.dead_letter import DeadLetterStatus, Direction
from django_eventbus.transports.base import FailureKind, Record
from tests.proof.sweep import mock_kafka, plan
from tests.proof.sweep.acts import operate
from tests.proof.sweep.journal import journal
from tests.proof.sweep.models import Effect, Published
from tests.proof.sweep.scenario import Scenario

Thing = TypeVar("Thing")


class Step(NamedTuple):
    """Name one message by what it says."""

    event: str  # name on the wire
    key: str
    number: int


class Run(NamedTuple):
    """Name one message for one handler."""

    handler: str
    step: Step


@dataclass(kw_only=True)
class Expectation:
    """What has to be there in the end."""

    published: set[Step]
    unsent: set[Step]  # refused by the broker, or held behind such a one
    refused: set[Step]
    handled: set[Run]
    dead: set[Run]
    waiting: set[Run]  # held for a verdict, or behind such a one

    @classmethod
    def of(cls, scenario: Scenario) -> Expectation:
        published = {
            Step(f"sweep.{event.__name__.lower()}", key, number)
            for event, key, count in scenario.steps
            for number in range(1, count + 1)
        }
        bad = {(key, number) for key, number, kind, _ in scenario.refused if kind is FailureKind.PERMANENT}
        refused = {step for step in published if (step.key, step.number) in bad}
        unsent = set() if scenario.is_mended else set(refused)
        if scenario.settings.get("OUTBOX", {}).get("ON_DEAD_LETTER") == "hold_key":
            unsent |= {step for step in published for head in refused if step[:2] == head[:2] and step > head}
        sent = published - unsent
        sent |= {Step("sweep.echoed", step.key, step.number) for step in sent if step.key == "echo"}
        carried = set() if scenario.is_on_kafka else sent
        runs = {Run(handler, step) for step in carried for handler in plan.HANDLERS[step.event]}
        dead = {run for run in runs if plan.is_doomed(run.handler, run.step.key, run.step.number)}
        behind = {run for run in runs if plan.is_behind(run.handler, run.step.key, run.step.number)}
        is_over = scenario.is_mended or scenario.is_discarded
        held = {run for run in dead if run.handler == plan.HOLDING}
        return cls(
            published=published,
            unsent=unsent,
            refused=refused,
            handled=runs - (set() if scenario.is_mended else dead) - (set() if is_over else behind),
            dead=dead,
            waiting=set() if is_over else held | behind,
        )


def findings(scenario: Scenario, *, is_undisturbed: bool) -> list[str]:
    """Name everything that is lost, invented, repeated, inverted or left over."""
    expected = Expectation.of(scenario)
    found = [*_published(expected), *_effects(expected), *_dead_letters(scenario, expected), *_left(expected)]
    found += _inbox(scenario, expected)
    if buses["default"].transport.capabilities.consumable:
        records = mock_kafka.records() if scenario.is_on_kafka else journal().records()
        found += _journal(records, expected, is_undisturbed=is_undisturbed)
    found += scenario.check()
    if scenario.act is operate:
        acts = OperatorAction.objects.count()
        found += [] if acts == DeadLetter.objects.count() else [f"{acts} acts of the operator"]
    return found


def _published(expected: Expectation) -> Iterator[str]:
    rows = Published.objects.values_list("event", "key", "number")
    there = Counter(Step(f"sweep.{event.lower()}", key, number) for event, key, number in rows)
    yield from _differences("published", Counter(expected.published), there)


def _effects(expected: Expectation) -> Iterator[str]:
    rows = Effect.objects.order_by("id").values_list("handler", "event", "key", "number", "event_id")
    effects = [(Run(handler, Step(event, key, number)), event_id) for handler, event, key, number, event_id in rows]
    yield from _differences("effect", Counter(expected.handled), Counter(run for run, _ in effects))
    replayed = set(DeadLetter.objects.exclude(status=DeadLetterStatus.DEAD).values_list("message_id", flat=True))
    highest: dict[tuple[str, str], int] = defaultdict(int)
    for run, event_id in effects:
        place = (run.handler, run.step.key)
        is_ordered = run.handler not in plan.UNORDERED and event_id not in replayed
        if is_ordered and run.step.number < highest[place]:
            yield f"inverted effect {run} after {highest[place]}"
        highest[place] = max(highest[place], run.step.number)


def _dead_letters(scenario: Scenario, expected: Expectation) -> Iterator[str]:
    status = DeadLetterStatus.DEAD
    if scenario.is_mended:
        status = DeadLetterStatus.REPLAYED
    elif scenario.is_discarded:
        status = DeadLetterStatus.DISCARDED
    steps = {event_id: Step(f"sweep.{event.lower()}", key, number) for event, key, number, event_id in _rows()}
    inbound, outbound, unreadable = Counter[Run](), Counter[Step](), 0
    for letter in DeadLetter.objects.all():
        if letter.direction == Direction.OUT:
            outbound[steps[letter.message_id]] += 1
        elif letter.handler:
            inbound[Run(letter.handler, steps[letter.message_id])] += 1
            if letter.attempts != plan.ATTEMPTS:
                yield f"dead letter after {letter.attempts} attempts"
        else:
            unreadable += 1
            continue
        if (letter.status, letter.times_dead) != (status, 1):
            yield f"dead letter {letter.status}, dead {letter.times_dead} times"
    yield from _differences("dead letter", Counter(expected.dead), inbound)
    yield from _differences("outbound dead letter", Counter(expected.refused), outbound)
    if unreadable != scenario.unreadable:
        yield f"{unreadable} unreadable records kept"


def _left(expected: Expectation) -> Iterator[str]:
    steps = {event_id: Step(f"sweep.{event.lower()}", key, number) for event, key, number, event_id in _rows()}
    waiting = Counter(Run(row.handler, steps[row.message_id]) for row in RetryMessage.objects.all())
    yield from _differences("waiting", Counter(expected.waiting), waiting)
    if left := OutboxMessage.objects.count():
        yield f"{left} left in the outbox"
    parked = Counter(steps[str(row.event_id)] for row in ParkedMessage.objects.all())
    yield from _differences("parked", Counter(expected.unsent - expected.refused), parked)


def _inbox(scenario: Scenario, expected: Expectation) -> Iterator[str]:
    taken = len(expected.handled | expected.dead | expected.waiting) + scenario.unreadable + scenario.timeouts
    taken = 0 if scenario.is_forgotten else taken
    if (there := InboxMessage.objects.count()) != taken:
        yield f"{there} rows in the inbox, not {taken}"


def _journal(records: Iterable[Record], expected: Expectation, *, is_undisturbed: bool) -> Iterator[str]:
    seen: list[Step] = []
    for record in records:
        if (step := _step_of(record)) is not None:
            seen.append(step)
    there = Counter(seen)
    wanted = expected.published - expected.unsent
    for step in sorted(wanted - there.keys()):
        yield f"lost on the way to the broker: {step}"
    for step in sorted(there.keys() - wanted):
        if step.event != "sweep.echoed":
            yield f"invented at the broker: {step}"
    if is_undisturbed:
        yield from (f"sent {times} times without a crash: {step}" for step, times in there.items() if times > 1)
    first = list(dict.fromkeys(seen))
    replayed = {step for step in expected.refused if step not in expected.unsent}
    highest: dict[tuple[str, str], int] = defaultdict(int)
    for step in first:
        if step.number < highest[step[:2]] and step not in replayed:
            yield f"inverted at the broker: {step}"
        highest[step[:2]] = max(highest[step[:2]], step.number)


def _step_of(record: Record) -> Step | None:
    headers = dict(record.headers)
    try:
        data = json.loads(record.value or b"")
    except ValueError:
        return None
    return Step((headers["ce_type"] or b"").decode(), data["key"], data["number"])


def _rows() -> Iterable[tuple[str, str, int, str]]:
    return Published.objects.values_list("event", "key", "number", "event_id")


def _differences(what: str, wanted: Counter[Thing], there: Counter[Thing]) -> Iterator[str]:
    yield from (f"lost {what}: {thing}" for thing in (wanted - there))
    for thing, times in (there - wanted).items():
        yield f"repeated {what}: {thing}" if wanted[thing] else f"invented {what}: {thing} ({times})"
