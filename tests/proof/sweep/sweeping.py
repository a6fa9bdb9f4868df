"""How is one scenario killed at each of its points, brought back, and judged?"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections

from tests.proof.sweep import mock_kafka
from tests.proof.sweep import settings as own
from tests.proof.sweep.children import Ended, in_child
from tests.proof.sweep.points import Death, deaths, points

BACKENDS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
TABLES = """
SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables
WHERE schemaname = 'public' AND (tablename LIKE 'eventbus_%' OR tablename LIKE 'sweep_%')
AND tablename <> 'eventbus_control'
"""
PATIENCE = 10.0


@dataclass(kw_only=True)
class Swept:
    """What the sweep of one scenario came to."""

    name: str
    database: str
    points: int = 0  # crash points of an undisturbed run
    distinct: int = 0  # different statements and calls among them
    deaths: int = 0  # runs that were killed
    survived: int = 0  # runs that ended before they came to their point
    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Say at which points to kill."""

    random: Random
    share: float = 1.0
    text: str = ""  # in the statement, or the call

    def among(self, every: Sequence[Death]) -> Sequence[Death]:
        """Return the chosen ones."""
        every = [death for death in every if self.text in death.label]
        return every if self.share >= 1 else self.random.sample(every, max(1, round(self.share * len(every))))


def sweep(name: str, *, chosen: Choice, pairs: int = 0) -> Swept:
    """Kill a scenario at the chosen points, and then also its recovery at some pairs of points."""
    began = time.monotonic()
    swept = Swept(name=name, database=connection.vendor)
    passed = _undisturbed(name, swept)
    swept.points, swept.distinct = len(passed), len(set(passed))
    every = deaths(passed)
    for death in chosen.among(every):
        _kill(name, [death], swept)
    for _ in range(pairs):
        _kill(name, [chosen.random.choice(every), chosen.random.choice(every)], swept)
    swept.seconds = round(time.monotonic() - began, 1)
    return swept


def empty_broker() -> None:
    """Do nothing, until there is a broker."""


def use_broker(empty: Callable[[], None]) -> None:
    """Empty this broker before each run."""
    global empty_broker
    empty_broker = empty


def prepare_database() -> None:
    """Make the tables, once for all scenarios."""

    def migrate(_: int) -> None:
        call_command("migrate", verbosity=0, run_syncdb=True)
        connections.close_all()
        if connection.vendor == "sqlite":
            shutil.copy(own.FOLDER / "sweep.sqlite3", own.FOLDER / "empty.sqlite3")

    _demand(in_child(migrate))


def _undisturbed(name: str, swept: Swept) -> list[str]:
    _begin(name)
    ended = in_child(partial(_act, name, None))
    if ended.status != 0 or ended.hung:
        swept.findings.append(f"undisturbed: ended with {ended.status}, hung={ended.hung}")
        return []
    swept.findings += [f"undisturbed: {finding}" for finding in _recover(name, None)]
    passed: list[str] = ended.said
    return passed


def _kill(name: str, ends: Sequence[Death], swept: Swept) -> None:
    _begin(name)
    place = ""
    for death in ends:
        ended = in_child(partial(_act, name, death))
        if ended.was_killed:
            swept.deaths += 1
            place += f" {death};"
        elif ended.status == 0:
            swept.survived += 1
            break
        else:
            swept.findings.append(f"{death}: ended with {ended.status}, hung={ended.hung}")
    swept.findings += [f"killed{place} {finding}" for finding in _recover(name, ends[0])]


def _begin(name: str) -> None:
    empty_broker()
    _demand(in_child(partial(_prepare, name)))


def _prepare(name: str, _: int) -> None:
    scenario = _open(name)
    if connection.vendor == "postgresql":
        _wait_for_the_dead()
        with connection.cursor() as cursor:
            cursor.execute(TABLES)
            cursor.execute(f"TRUNCATE {cursor.fetchone()[0]} RESTART IDENTITY")
    else:
        for leftover in own.FOLDER.glob("sweep.sqlite3*"):
            leftover.unlink()
        shutil.copy(own.FOLDER / "empty.sqlite3", own.FOLDER / "sweep.sqlite3")
    shutil.rmtree(own.FOLDER / "journal", ignore_errors=True)
    (own.FOLDER / "journal").mkdir()
    (own.FOLDER / "healed").unlink(missing_ok=True)
    scenario.prepare(scenario)
    connections.close_all()


def _act(name: str, death: Death | None, told: int) -> list[str]:
    scenario = _open(name)
    points.arm(death, told=told)
    scenario.act(scenario)
    points.disarm()
    connections.close_all()
    return points.passed


def _recover(name: str, death: Death | None) -> list[str]:
    """Do it again from its start, settle, and judge."""

    def again(_: int) -> list[str]:
        judging, scenarios = _loaded()
        scenario = _open(name)
        _wait_for_the_dead()
        if death is not None:
            scenario.act(scenario)
        scenarios.settle(scenario)
        found: list[str] = judging.findings(scenario, is_undisturbed=death is None)
        return found

    ended = in_child(again)
    if ended.status != 0 or ended.hung:
        return [f"recovery ended with {ended.status}, hung={ended.hung}"]
    found: list[str] = ended.said
    return found


def _open(name: str) -> Any:
    """Return a scenario, with the buses that it asks for."""
    from django_eventbus.bus import buses

    scenario = _loaded()[1].SCENARIOS[name]
    settings.EVENTBUS = own.bus(**{**(mock_kafka.settings() if scenario.is_on_kafka else {}), **scenario.settings})
    buses.clear()
    return scenario


def _loaded() -> tuple[Any, Any]:
    """Import what needs ready apps."""
    from tests.proof.sweep import judging, scenarios

    return judging, scenarios


def _wait_for_the_dead() -> None:
    """Wait until the server has noticed: a relay that finds the locks taken would stand by for a second."""
    if connection.vendor != "postgresql":
        return
    ends_at = time.monotonic() + PATIENCE
    with connection.cursor() as cursor:
        while time.monotonic() < ends_at:
            cursor.execute(BACKENDS)
            if cursor.fetchone()[0] == 0:
                return
            time.sleep(0.002)
    raise TimeoutError(f"a session of the dead is still there after {PATIENCE} s (process {os.getpid()})")


def _demand(ended: Ended) -> None:
    if ended.status != 0 or ended.hung:
        raise RuntimeError(f"preparing ended with {ended.status}, hung={ended.hung}")
