"""Sagas under torment, short enough for the suite; the judge itself, and bugs that it has to find."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.history.own_services import new_database
from tests.history.saga_history import Report, Trips, run_history
from tests.history.trips.bugs import BUGS
from tests.history.trips.judging import Effect, Instance, Remembered, Step, Verdict, judge

PLACES = ("flight/1", "hotel/1", "car/1")


def run(postgres: str, kafka: str, folder: Path, *, sagas: int, every: float, bug: str = "") -> Report:
    topic = f"trips-{uuid.uuid4().hex[:8]}"
    url = new_database(postgres)
    return run_history(
        Trips(url=url, broker=kafka, topic=topic, notes=folder, bug=bug, sagas=sagas, seed=45, every=every)
    )


@pytest.mark.services
@pytest.mark.timeout(240)
def test_every_saga_ends_with_each_step_once_while_everybody_is_killed_and_frozen(
    postgres: str, kafka: str, tmp_path: Path
) -> None:
    report = run(postgres, kafka, tmp_path, sagas=60, every=10)

    assert report.is_clean, report
    assert report.verdict.ended.keys() == {"completed", "compensated"}
    assert report.verdict.fired > 5
    assert report.dead
    assert sum(report.faults.values()) > 1


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_thousand_sagas_end(postgres: str, kafka: str, tmp_path: Path) -> None:
    report = run(postgres, kafka, tmp_path, sagas=1000, every=10)

    assert report.is_clean, report
    assert sum(report.kills.values()) + sum(report.freezes.values()) > 20


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bug", BUGS)
def test_a_known_bug_of_sagas_is_found(postgres: str, kafka: str, tmp_path: Path, bug: str) -> None:
    report = run(postgres, kafka, tmp_path, sagas=200, every=10, bug=bug)

    assert not report.is_clean


def story() -> list[Step]:
    """Tell a trip that is completed, and whose flight came a second time after that."""
    begin = Step("t1", 1, "begin", "m1", "running", ["flight/1", "hotel/1"], [], {"answers": 3.0, "whole": 60.0}, 1.0)
    asked = begin._replace(number=4, what="hint", message_id="m4", asked=["car/1"], armed={"answers": 4.0}, now=2.0)
    again = begin._replace(number=5, what="timeout answers", message_id="m5", asked=["flight/2"], armed={}, now=4.1)
    step = begin._replace(asked=[], armed={})
    return [
        begin,
        step._replace(number=2, what="answer flight/1", message_id="m2"),
        step._replace(number=3, what="answer hotel/1", message_id="m3"),
        asked,
        again,
        step._replace(number=6, what="answer car/1", message_id="m6", status="completed", now=5.0),
        step._replace(number=0, what="late flight/2", message_id="m7", status="completed", undone=["flight/2"]),
    ]


def effects() -> list[Effect]:
    booked = [Effect("t1", place, "booked", place) for place in (*PLACES, "flight/2")]
    return [*booked, Effect("t1", "flight/2", "undone", "u1")]


def verdict_on(steps: Sequence[Step], effects: Sequence[Effect]) -> Verdict:
    numbered = [step for step in steps if step.number]
    history = [
        Remembered(s.trip, n, s.message_id, s.status, s.number, len(s.asked) + len(s.undone), frozenset(s.armed))
        for n, s in enumerate(numbered, 1)
    ]
    last = numbered[-1]
    instance = Instance(len(numbered), last.status, last.number, 0)
    return judge(["t1"], steps, effects, instances={"t1": instance}, history=history)


def test_the_judge_finds_nothing_where_nothing_is_wrong() -> None:
    verdict = verdict_on(story(), effects())

    assert verdict.is_clean, verdict
    assert (verdict.fired, verdict.late, verdict.ended) == (1, 1, {"completed": 1})


def test_the_judge_sees_effects_that_are_lost_repeated_or_invented() -> None:
    done = [*effects()[1:], effects()[1], Effect("t1", "car/9", "silent", "car/9")]

    verdict = verdict_on(story(), done)

    assert verdict.lost == ["asked t1 flight/1"]
    assert verdict.repeated == ["booked hotel/1"]
    assert sorted(verdict.invented) == ["asked t1 car/9", "asked t1 hotel/1"]
    assert verdict.unbalanced == ["t1 completed: flight 0", "t1 completed: hotel 2"]


def test_the_judge_sees_a_step_that_did_not_see_the_one_before() -> None:
    steps = story()
    steps[2] = steps[2]._replace(number=2)

    verdict = verdict_on(steps, effects())

    assert verdict.overwritten == ["t1 2 answer hotel/1, not 3"]


def test_the_judge_sees_timeouts_that_were_not_armed_come_early_or_after_the_end() -> None:
    steps = story()
    steps[4] = steps[4]._replace(now=3.5)
    steps.insert(5, steps[4]._replace(number=6, message_id="m9", asked=[]))
    steps[6] = steps[6]._replace(number=7)
    steps.append(steps[5]._replace(number=8, what="timeout whole", message_id="m10", now=99.0))

    verdict = verdict_on(steps, effects())

    assert verdict.timeouts == [
        "t1 5 timeout answers 0.5 s early",
        "t1 6 timeout answers was not armed",
        "t1 8 timeout whole after the end",
        "t1 8 timeout whole was not armed",
    ]


def test_the_judge_sees_a_saga_that_did_not_end_and_one_that_never_began() -> None:
    steps = story()[:4]
    done = [effect for effect in effects() if effect.place in PLACES]

    verdict = judge(["t1", "t2"], steps, done, instances={}, history=[])

    assert verdict.unfinished == ["t1 running, armed {'answers': 4.0, 'whole': 60.0}", "t2 never began, armed {}"]


def test_the_judge_sees_a_history_that_tells_something_else() -> None:
    steps = story()
    told = verdict_on(steps, effects())

    verdict = judge(["t1"], steps, effects(), instances={"t1": Instance(6, "running", 6, 1)}, history=[])

    assert told.history == []
    assert verdict.history == [
        "t1: 0 lines, not 6",
        "t1: instance " + repr(Instance(6, "running", 6, 1)) + ", not 6 completed",
    ]
    assert replace(told, left=["1 scheduled"]).is_clean is False
