"""Does the judge of a run see everything that can be wrong, and nothing else?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.history.own_services import new_database
from tests.history.path.events import ECHO_EVERY
from tests.history.path.evidence import gather
from tests.history.path.fates import dies
from tests.history.path.judging import Verdict, judge
from tests.history.path.tables import ECHOES, HANDLERS, STEPS, TABLES

KEY = 1
LAST = 6  # steps; the fifth has an echo
DEAD_LETTERS = "CREATE TABLE eventbus_dead_letter (handler text, message_id text, reason text)"
EFFECT = """
INSERT INTO path_effect (handler, event_id, key, number, previous, attempt, owner) VALUES (%s, %s, %s, %s, %s, 1, 1)
"""

Effect = tuple[int, UUID, int, int, int]  # handler, event, key, number, previous
Record = tuple[int, int, int, UUID, int, int]  # topic, partition, offset, event, key, number

pytestmark = pytest.mark.services


def step(number: int) -> UUID:
    return UUID(int=number)


def echo(number: int) -> UUID:
    return UUID(int=1000 + number)


@dataclass
class Story:
    """What a run left behind; at first one in which all went well."""

    folder: Path
    effects: list[Effect] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    runs: list[tuple[int, UUID]] = field(default_factory=list)
    dead: list[tuple[str, UUID, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        offsets = count()
        for number in range(1, LAST + 1):
            self.effects += [(handler, step(number), KEY, number, number - 1) for handler in (1, 2)]
            self.records.append((STEPS, 0, next(offsets), step(number), KEY, number))
        self.effects += [(handler, echo(ECHO_EVERY), KEY, ECHO_EVERY, 0) for handler in (3, 4)]
        self.records.append((ECHOES, 0, 0, echo(ECHO_EVERY), KEY, ECHO_EVERY))
        self.runs = [(handler, event_id) for handler, event_id, *_ in self.effects]

    def judge(self, session: psycopg.Connection[Any]) -> Verdict:
        session.execute("UPDATE path_counter SET value = %s WHERE key = %s", [LAST, KEY])
        with session.cursor() as cursor:
            published = [(step(number), KEY, number) for number in range(1, LAST + 1)]
            cursor.executemany("INSERT INTO path_published VALUES (%s, %s, %s)", published)
            cursor.executemany(EFFECT, self.effects)
            cursor.executemany("INSERT INTO eventbus_dead_letter VALUES (%s, %s, %s)", self.dead)
        lines = "".join(f"{handler}\t{event_id}\t1\n" for handler, event_id in self.runs)
        Path(self.folder, "handled-1").write_text(lines + "2\tcut o")
        gather(session, folder=self.folder, records=self.records)
        return judge(session)


@pytest.fixture
def session(postgres: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(new_database(postgres), autocommit=True) as session:
        session.execute(TABLES)
        session.execute(DEAD_LETTERS)
        yield session


@pytest.fixture
def story(tmp_path: Path) -> Story:
    assert not any(dies(name, str(KEY), number) for name in HANDLERS for number in range(1, LAST + 1))
    return Story(tmp_path)


def without(effects: Sequence[Effect], handler: int, number: int) -> list[Effect]:
    return [effect for effect in effects if (effect[0], effect[3]) != (handler, number)]


def test_it_finds_nothing_where_nothing_is_wrong(story: Story, session: psycopg.Connection[Any]) -> None:
    verdict = story.judge(session)

    assert verdict.is_clean, verdict
    assert verdict.is_without_repeats
    assert (verdict.committed, verdict.effects, verdict.records, verdict.runs) == (6, 14, 7, 14)


def test_it_sees_what_was_never_handled_and_what_was_never_sent(story: Story, session: psycopg.Connection[Any]) -> None:
    story.effects = without(story.effects, 2, LAST)
    story.records = [record for record in story.records if record[3] != step(2)]

    assert sorted(story.judge(session).lost) == [f"path.listed {step(6)} 1/6", f"record {step(2)} 1/2"]


def test_it_asks_for_the_echo_of_every_step_that_has_one(story: Story, session: psycopg.Connection[Any]) -> None:
    story.effects = [effect for effect in story.effects if effect[0] in (1, 2)]
    story.records = [record for record in story.records if record[0] == STEPS]

    assert sorted(story.judge(session).lost) == ["path.aside  1/5", "path.echo  1/5", "record  1/5"]


def test_it_sees_what_was_handled_twice(story: Story, session: psycopg.Connection[Any]) -> None:
    story.effects.append((4, echo(5), KEY, 5, 5))

    assert story.judge(session).repeated == [f"path.aside {echo(5)} 1/5, 2 times"]


def test_it_sees_what_was_never_committed(story: Story, session: psycopg.Connection[Any]) -> None:
    story.effects.append((1, step(99), KEY, 7, 6))
    story.runs += [(1, step(99)), (2, step(98))]
    story.records.append((STEPS, 0, 99, step(97), KEY, 7))
    story.records.append((ECHOES, 0, 1, echo(6), KEY, 5))

    verdict = story.judge(session)

    assert sorted(verdict.invented) == [
        f"effect of path.ordered {step(99)} 1/7",
        f"record {step(97)} of topic 1, 1/7",
        f"record {echo(6)} of topic 2, 1/5",
        f"run of path.listed {step(98)}",
        f"run of path.ordered {step(99)}",
    ]


def test_it_sees_a_run_that_did_not_see_the_one_before(story: Story, session: psycopg.Connection[Any]) -> None:
    story.effects = [*without(story.effects, 1, 3), (1, step(3), KEY, 3, 4)]

    assert story.judge(session).inverted == ["path.ordered 1/3 saw 4, not 2"]


def test_it_sees_an_order_that_the_log_of_the_broker_has_not_kept(
    story: Story, session: psycopg.Connection[Any]
) -> None:
    story.records[1], story.records[2] = (
        (*story.records[1][:2], story.records[2][2], *story.records[1][3:]),
        (*story.records[2][:2], story.records[1][2], *story.records[2][3:]),
    )

    assert "record of topic 1 1/2 stands behind 3, not 1" in story.judge(session).inverted


def test_it_counts_what_stands_in_the_log_again_without_complaint(
    story: Story, session: psycopg.Connection[Any]
) -> None:
    story.records.append((STEPS, 0, 50, step(2), KEY, 2))
    story.runs.append((1, step(2)))

    verdict = story.judge(session)

    assert verdict.is_clean, verdict
    assert (verdict.repeated_records, verdict.repeated_runs) == (1, 1)


def test_it_accounts_for_dead_letters(story: Story, session: psycopg.Connection[Any]) -> None:
    story.effects = without(story.effects, 4, 5)
    story.dead = [("path.aside", echo(5), "rejected"), ("unheard.of", step(1), "rejected")]

    verdict = story.judge(session)

    assert not verdict.lost
    assert sorted(verdict.unexpected) == [
        f"dead letter of path.aside {echo(5)} (rejected)",
        f"dead letter of unheard.of {step(1)} (rejected)",
    ]


def test_it_sees_an_effect_without_a_run(story: Story, session: psycopg.Connection[Any]) -> None:
    story.runs.remove((2, step(4)))

    assert story.judge(session).unexpected == [f"effect of path.listed {step(4)} 1/4 without a run"]
