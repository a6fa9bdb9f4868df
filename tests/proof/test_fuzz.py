"""A few thousand mutated records for the suite, a million in the long form; and bugs that the judge has to find."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.history.own_services import new_database
from tests.proof.fuzz.bugs import BUGS
from tests.proof.fuzz.mutating import draw
from tests.proof.fuzz.oracle import Fate, judge
from tests.proof.fuzz.running import Report, Stage, run_fuzz

pytestmark = [pytest.mark.once, pytest.mark.timeout(300)]
LONG = pytest.mark.long


def run(postgres: str, kafka: str, folder: Path, *, records: int, seed: int, **more: Any) -> Report:
    topic = f"fuzz-{uuid.uuid4().hex[:8]}"
    url = new_database(postgres)
    return run_fuzz(Stage(url=url, broker=kafka, topic=topic, folder=folder, records=records, seed=seed, **more))


@pytest.mark.services
def test_every_mutated_record_is_accounted_for(postgres: str, kafka: str, tmp_path: Path) -> None:
    report = run(postgres, kafka, tmp_path, records=5000, seed=11)

    verdict = report.verdict
    assert report.is_clean, verdict.findings
    assert verdict.records == verdict.handled + verdict.skipped + verdict.dead + verdict.repeated == 5000
    assert min(verdict.handled, verdict.skipped, verdict.dead) > 500
    assert verdict.left_open < 150


@pytest.mark.services
@pytest.mark.parametrize(
    "bug", [bug if bug in {"swallowing_decoder", "offset_of_unkept"} else pytest.param(bug, marks=LONG) for bug in BUGS]
)
def test_a_planted_bug_is_found(postgres: str, kafka: str, tmp_path: Path, bug: str) -> None:
    report = run(postgres, kafka, tmp_path, records=1500, seed=12, bug=bug)

    expected = "has other bytes" if bug == "shortened_bytes" else "one dead letter was to be made of it"
    assert any(expected in finding for finding in report.verdict.findings)


@pytest.mark.services
@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("keeps_unknown", [False, True])
def test_a_hundred_thousand_records(postgres: str, kafka: str, tmp_path: Path, keeps_unknown: bool) -> None:
    report = run(postgres, kafka, tmp_path, records=100_000, seed=13, keeps_unknown=keeps_unknown)

    assert report.is_clean, report.verdict.findings


def test_what_nobody_touched_is_handled_or_concerns_nobody() -> None:
    untouched = [draft for draft in (draw(number, seed=14) for number in range(1000)) if not draft.mutations]

    fates = {judge(draft.headers, draft.value).fate for draft in untouched}

    assert len(untouched) > 300
    assert fates == {Fate.HANDLED, Fate.SKIPPED}
