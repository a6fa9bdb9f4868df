"""Is each known bug found, and nothing where there is none?"""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.history.own_services import migrated_database
from tests.history.path.bugs import BUGS
from tests.history.path.judging import Verdict
from tests.history.path.scenarios import SCENARIOS, play

FOUND = {
    "offset_before_commit": {"lost"},
    "inbox_after_handler": {"repeated"},
    "no_inbox": {"repeated"},
    "no_fence": {"repeated"},
    "floor_without_proof": {"lost", "inverted"},
    "floor_from_xmax": {"lost", "inverted"},
}
# What the suite tries; the others are found in the same way as one of these.
SHORT = ("offset_before_commit", "inbox_after_handler", "no_fence", "floor_without_proof", "floor_from_xmax")


def verdict_of(name: str, postgres: str, kafka: str, folder: Path, *, bug: str = "") -> Verdict:
    topic = f"path-{uuid.uuid4().hex[:8]}"
    return play(name, url=migrated_database(postgres), broker=kafka, topic=topic, folder=folder, bug=bug)


def tried(name: str) -> object:
    marks = [pytest.mark.once, pytest.mark.services] if name in SHORT else [pytest.mark.long]
    return pytest.param(name, marks=[*marks, pytest.mark.timeout(400)])


@pytest.mark.parametrize("bug", [tried(name) for name in FOUND])
def test_a_known_bug_is_found(bug: str, postgres: str, kafka: str, tmp_path: Path) -> None:
    verdict = verdict_of(bug, postgres, kafka, tmp_path, bug=bug)

    assert verdict.found.keys() & FOUND[bug]


@pytest.mark.once
@pytest.mark.services
@pytest.mark.timeout(400)
def test_relays_without_a_lock_show_as_repeats_where_nobody_is_harmed(
    postgres: str, kafka: str, tmp_path: Path
) -> None:
    verdict = verdict_of("no_lock", postgres, kafka, tmp_path, bug="no_lock")

    assert verdict.is_clean, "the broker has it twice, which is allowed where somebody is harmed"
    assert not verdict.is_without_repeats


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_a_scenario_harms_nothing_where_there_is_no_bug(name: str, postgres: str, kafka: str, tmp_path: Path) -> None:
    verdict = verdict_of(name, postgres, kafka, tmp_path)

    assert verdict.is_clean, verdict
    assert verdict.records
    if name == "no_lock":
        assert verdict.is_without_repeats


def test_every_bug_has_its_scenario() -> None:
    assert SCENARIOS.keys() == BUGS.keys() == {*FOUND, "no_lock"}
