"""The whole way under torment, short enough for the suite, and undisturbed; minutes of it in the long form."""

from __future__ import annotations

import uuid
from itertools import islice, takewhile
from pathlib import Path

import pytest

from tests.history.own_services import migrated_database
from tests.history.path.faults import FROZEN_FOR, Kind, schedule
from tests.history.path_history import Plan, Report, run_history

SHORT = Plan(seed=232, events=20_000, every=1.5)


def run(postgres: str, kafka: str, folder: Path, plan: Plan) -> Report:
    topic = f"path-{uuid.uuid4().hex[:8]}"
    return run_history(url=migrated_database(postgres), broker=kafka, topic=topic, folder=folder, plan=plan)


@pytest.mark.once
@pytest.mark.services
@pytest.mark.timeout(900)
def test_everything_committed_is_handled_once_and_in_order_while_everybody_is_killed_and_frozen(
    postgres: str, kafka: str, tmp_path: Path
) -> None:
    report = run(postgres, kafka, tmp_path, SHORT)

    assert report.is_clean, report
    assert report.verdict.committed >= 20_000
    assert {fault.partition(" ")[0] for fault in report.faults} == {"kill", "freeze", "rebalance", "end"}
    assert report.verdict.dead, "some messages always fail"
    assert report.verdict.retried


@pytest.mark.once
@pytest.mark.services
@pytest.mark.timeout(400)
def test_where_nobody_is_harmed_nothing_is_sent_or_handled_twice(postgres: str, kafka: str, tmp_path: Path) -> None:
    report = run(postgres, kafka, tmp_path, Plan(seed=1, events=3000, every=0))

    assert report.is_clean, report
    assert report.verdict.is_without_repeats
    assert report.verdict.runs == report.verdict.effects


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_minutes_of_torment_lose_repeat_and_invert_nothing(postgres: str, kafka: str, tmp_path: Path) -> None:
    report = run(postgres, kafka, tmp_path, Plan(seed=5, minutes=5, longest=60))

    assert report.is_clean, report


def test_the_faults_of_the_short_form_are_of_every_kind_and_hit_everybody() -> None:
    faults = schedule(SHORT.seed, every=SHORT.every, longest=SHORT.longest)

    soon = list(takewhile(lambda fault: fault.at < 20, faults))

    assert {fault.kind for fault in soon} == {*Kind}
    assert {fault.crew for fault in soon if fault.kind is Kind.KILL} == {"consumers", "relays", "writers"}
    assert max(fault.seconds for fault in soon) == FROZEN_FOR


def test_a_seed_says_all_faults() -> None:
    first, second = (list(islice(schedule(3, every=1, longest=60), 200)) for _ in range(2))

    assert first == second
    assert first != list(islice(schedule(4, every=1, longest=60), 200))
    assert max(fault.seconds for fault in first) > FROZEN_FOR
