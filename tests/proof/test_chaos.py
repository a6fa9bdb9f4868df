"""Some faults under a steady load, short enough for the suite; the judges of losses and of rates put to the test."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.history.own_services import new_database
from tests.proof.chaos import processes, servers
from tests.proof.chaos.__main__ import FAULTS
from tests.proof.chaos.results import HEADER, Result, table
from tests.proof.chaos.scene import Scene
from tests.proof.load.judging import Verdict, judge
from tests.proof.load.rates import Series, backlog_gone, rate_back
from tests.proof.load.running import Load

pytestmark = pytest.mark.once

RATE = 40.0
SOME = 0.1  # of the rate: a busy machine is no finding
STRIKES = (servers.kill_sessions, processes.kill_consumers, processes.storm)
SOUND = Verdict(committed=9, handled=9, lost=0, repeated=0, invented=0, inverted=0, dead=0, left=0, sent=9)


@dataclass(frozen=True)
class Struck:
    """A load that some faults have struck, and what was said of it at its end."""

    load: Load
    verdict: Verdict
    ended_alone: list[str]


@pytest.fixture(scope="module")
def struck(postgres: str, kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Struck]:
    load = Load(
        url=new_database(postgres),
        broker=kafka,
        topic=f"chaos-{uuid.uuid4().hex[:8]}",
        folder=tmp_path_factory.mktemp("load"),
        rate=RATE,
        seed=5,
    )
    load.prepare()
    try:
        load.start(share=SOME)
        scene = Scene(load=load, random=random.Random(5), pace=0.2)
        for strike in STRIKES:
            strike(scene)
        failed = load.finish()
        yield Struck(load, load.verdict(), load.keeper.ended_alone + failed)
    finally:
        load.stop()


@pytest.mark.services
@pytest.mark.timeout(300)
def test_sessions_ended_consumers_killed_and_members_that_come_and_go_lose_and_repeat_nothing(struck: Struck) -> None:
    assert struck.verdict.findings == []
    assert struck.ended_alone == []
    assert struck.verdict.committed > RATE


@pytest.mark.services
@pytest.mark.timeout(300)
def test_the_judge_of_a_load_sees_what_is_lost_repeated_invented_inverted_and_left(struck: Struck) -> None:
    with struck.load.database.connect() as session, session.transaction(force_rollback=True):
        for statement in (
            "DELETE FROM load_effect WHERE id = (SELECT max(id) FROM load_effect)",
            "INSERT INTO load_effect (event_id, key, number, attempt) SELECT event_id, key, number, 1 FROM load_effect"
            " WHERE number = 1 AND key = (SELECT key FROM load_effect ORDER BY number DESC LIMIT 1)",
            "INSERT INTO load_effect (event_id, key, number, attempt) VALUES (gen_random_uuid(), 'other', 1, 1)",
        ):
            session.execute(statement)

        verdict = judge(lambda statement: session.execute(statement).fetchall()[0][0], sent=struck.verdict.sent - 1000)

    assert (verdict.lost, verdict.repeated, verdict.invented, verdict.inverted) == (1, 1, 1, 1)
    assert any("never sent" in finding for finding in verdict.findings)


def handled(*rates: int) -> Series:
    """Count so many in each second."""
    series = Series()
    for second in range(len(rates) + 1):
        series.add(float(second), sum(rates[:second]))
    return series


def test_the_rate_is_back_from_the_first_moment_on_that_is_as_fast_as_before() -> None:
    series = handled(100, 100, 100, 0, 0, 0, 50, 100, 100, 100)

    assert rate_back(series, struck=3.0, since=6.0, until=10.0, before=100.0) == 1.0
    assert rate_back(series, struck=3.0, since=6.0, until=9.5, before=100.0) is None


def test_a_backlog_that_is_made_up_for_dates_the_recovery_back_by_less_than_a_second() -> None:
    series = handled(100, 100, 100, 0, 0, 0, 400, 100, 100)

    assert rate_back(series, struck=3.0, since=3.0, until=9.0, before=100.0) == 2.25  # the burst begins at 3.0


def test_a_fault_that_nobody_feels_has_no_recovery() -> None:
    assert rate_back(handled(*[100] * 9), struck=3.0, since=6.0, until=9.0, before=100.0) == 0.0


def test_what_was_handled_before_a_sudden_fault_is_no_recovery() -> None:
    series = handled(*[100] * 5, 0, 0, *[100] * 5)

    assert rate_back(series, struck=5.0, since=5.0, until=12.0, before=100.0) == 2.0


def test_what_was_handled_more_slowly_is_not_yet_the_rate_of_before() -> None:
    series = handled(*[100] * 5, *[94] * 9)

    assert rate_back(series, struck=5.0, since=9.0, until=14.0, before=100.0) is None


def test_the_backlog_is_gone_when_no_more_than_usual_waits_for_a_while() -> None:
    committed = handled(*[100] * 10)
    caught_up = handled(100, 100, 0, 0, 0, 200, 200, 200, 100, 100)

    assert backlog_gone(committed, caught_up, since=5.0, until=10.0, normal=10.0) == 3.0
    assert backlog_gone(committed, handled(*[100] * 4), since=5.0, until=10.0, normal=10.0) is None


def test_a_moment_of_calm_between_two_backlogs_does_not_count() -> None:
    committed = handled(*[100] * 10)
    uneven = handled(100, 0, 200, 0, 200, 100, 100, 100, 100, 100)

    assert backlog_gone(committed, uneven, since=2.0, until=10.0, normal=10.0) == 3.0


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"rate_back": None}, "the rate was not back within 10 s"),
        ({"rate_back": 10.5}, "the rate was not back within 10 s"),
        ({"backlog_gone": None}, "the backlog did not go away"),
        ({"after": 94.0}, "only 94% of the rate afterwards"),
    ],
)
def test_a_missed_goal_is_named(change: dict[str, float | None], finding: str) -> None:
    figures: dict[str, float | None] = {"before": 100.0, "after": 95.0, "rate_back": 10.0, "backlog_gone": 30.0}

    assert result(**figures).missed == []
    assert result(**figures | change).missed == [finding]


def test_a_loss_stands_in_the_table_whatever_the_rates_say() -> None:
    lost = result(before=100.0, after=100.0, rate_back=1.0, backlog_gone=1.0)
    lost.verdict = Verdict(committed=9, handled=8, lost=1, repeated=0, invented=0, inverted=0, dead=0, left=0, sent=9)

    assert lost.findings == ["1 lost"]
    assert table([lost]).splitlines()[-1].endswith("| 1 lost |")


def test_what_could_not_be_tried_says_why() -> None:
    row = Result(name="disk-full", skipped="nobody may mount").row()

    assert len(row) == len(HEADER)
    assert row[-1] == "not tried: nobody may mount"


def test_every_fault_has_a_name_of_its_own_and_a_goal() -> None:
    assert len(FAULTS) == 20
    assert all(fault.limit >= 10 and fault.what for fault in FAULTS.values())


def result(**figures: float | None) -> Result:
    return Result(name="fault", limit=10.0, verdict=SOUND, **figures)  # type: ignore[arg-type]
