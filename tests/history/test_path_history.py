"""The whole way under torment, short enough for the suite; the judge itself, and bugs that it has to find."""

from __future__ import annotations

import uuid
from collections import Counter
from pathlib import Path

import pytest

from tests.history.own_services import new_database
from tests.history.path.bugs import BUGS
from tests.history.path.judging import ECHO, HANDLERS, Dead, Effect, Step, judge
from tests.history.path_history import Report, run_history
from tests.history.plan import dies

COMMITTED = {f"id{number}": Step("k1", number) for number in range(1, 5)}


def run(postgres: str, kafka: str, folder: Path, *, seconds: float, bug: str = "") -> Report:
    topic = f"path-{uuid.uuid4().hex[:8]}"
    return run_history(
        url=new_database(postgres), broker=kafka, topic=topic, seconds=seconds, seed=5, notes=folder, bug=bug
    )


@pytest.mark.services
def test_everything_committed_is_handled_once_and_in_order_while_everybody_is_killed_and_frozen(
    postgres: str, kafka: str, tmp_path: Path
) -> None:
    report = run(postgres, kafka, tmp_path, seconds=10)

    assert report.is_clean, report
    assert report.verdict.committed > 100
    assert sum(report.kills.values()) + sum(report.freezes.values()) > 2


@pytest.mark.long
@pytest.mark.timeout(400)
def test_minutes_of_torment_lose_repeat_and_invert_nothing(postgres: str, kafka: str, tmp_path: Path) -> None:
    report = run(postgres, kafka, tmp_path, seconds=180)

    assert report.is_clean, report


@pytest.mark.long
@pytest.mark.timeout(200)
@pytest.mark.parametrize("bug", BUGS)
def test_a_known_bug_is_found(postgres: str, kafka: str, tmp_path: Path, bug: str) -> None:
    report = run(postgres, kafka, tmp_path, seconds=40, bug=bug)

    assert not report.is_clean


def sound() -> tuple[list[Effect], Counter[str]]:
    effects = [
        Effect(handler, event_id, step, step.number - 1) for handler in HANDLERS for event_id, step in COMMITTED.items()
    ]
    return effects, Counter(f"{effect.handler} {effect.event_id}" for effect in effects)


def test_the_judge_finds_nothing_where_nothing_is_wrong() -> None:
    effects, tried = sound()
    assert not any(dies(handler, *step) for handler in HANDLERS for step in COMMITTED.values())

    assert judge(COMMITTED, effects, (), tried=tried).is_clean


def test_the_judge_sees_what_is_lost_repeated_invented_and_inverted() -> None:
    effects, tried = sound()
    lost = effects.pop(0)
    effects.append(effects[-1])
    effects.append(Effect(HANDLERS[0], "id9", Step("k1", 9), 4))
    effects[0] = effects[0]._replace(previous=3)

    verdict = judge(COMMITTED, effects, (), tried=tried + Counter([f"{HANDLERS[1]} undone"]))

    assert verdict.lost == [f"{lost.handler} id1 k1/1"]
    assert verdict.repeated == [f"{HANDLERS[1]} id4"]
    assert verdict.invented == [f"effect of {HANDLERS[0]} id9", f"run of {HANDLERS[1]} undone"]
    assert verdict.inverted == [f"{HANDLERS[0]} k1/2 after 3"]


def test_the_judge_asks_for_every_echo_and_accounts_for_dead_letters() -> None:
    effects, tried = sound()
    fifth = Effect(HANDLERS[0], "id5", Step("k1", 5), 4)

    verdict = judge(
        {**COMMITTED, "id5": fifth.step},
        [*effects, fifth],
        [Dead(HANDLERS[1], "id5", "rejected"), Dead(ECHO, "other", "rejected")],
        tried=tried + Counter([f"{HANDLERS[0]} id5"]),
    )

    assert verdict.lost == [f"{ECHO} k1/5"]
    assert verdict.unexpected == [f"dead {HANDLERS[1]} id5 rejected", f"1 dead letters of {ECHO}, not 0"]
