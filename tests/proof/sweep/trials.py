"""How is one scenario killed at a point, brought back, and judged?

Each act runs in a forked child, whose parent has imported everything and opened nothing: a death costs no start of an
interpreter, and is yet that of a process with connections, threads and locks of its own.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connection, connections

from tests.proof.sweep import acts, judging, mock_kafka
from tests.proof.sweep import settings as own
from tests.proof.sweep.children import Ended, in_child
from tests.proof.sweep.points import Death, points
from tests.proof.sweep.scenarios import SCENARIOS

BACKENDS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
EMPTYING = """
SELECT string_agg('DELETE FROM ' || quote_ident(tablename), '; ') FROM pg_tables
WHERE schemaname = 'public' AND (tablename LIKE 'eventbus_%' OR tablename LIKE 'sweep_%')
AND tablename <> 'eventbus_control'
"""
PATIENCE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Be one run of a scenario: undisturbed, killed, or killed and its successor killed too."""

    scenario: str
    deaths: tuple[Death, ...] = ()


@dataclass(slots=True, kw_only=True)
class Verdict:
    """Say what came of a trial."""

    passed: list[str] = field(default_factory=list)  # of an undisturbed run, which ways there are to die
    killed: int = 0
    is_survived: bool = False  # it ended before it came to its point
    findings: list[str] = field(default_factory=list)
    cost: float = 0.0  # processor time of this side, in seconds; that of a server is not in it


def attempt(trial: Trial) -> Verdict:
    """Run, kill, bring back and judge; must be called where `in_room` was."""
    began = os.times()
    verdict = Verdict()
    _begin(trial.scenario)
    if trial.deaths:
        _kill(trial, verdict)
    else:
        _run_through(trial.scenario, verdict)
    ended = os.times()
    verdict.cost = ended.children_user + ended.children_system - began.children_user - began.children_system
    return verdict


def require_bareness() -> None:
    """Refuse to fork what a fork would break."""
    open_ones = [handle for handle in connections.all(initialized_only=True) if handle.connection is not None]
    if threading.active_count() > 1 or open_ones:
        raise RuntimeError(f"threads {threading.enumerate()}, connections {open_ones}: a child would inherit them")


def _run_through(name: str, verdict: Verdict) -> None:
    ended = in_child(partial(_act, name, None))
    if ended.status != 0 or ended.hung:
        verdict.findings.append(f"undisturbed: ended with {ended.status}, hung={ended.hung}")
        return
    verdict.findings += [f"undisturbed: {finding}" for finding in _recover(name, None)]
    verdict.passed = ended.said


def _kill(trial: Trial, verdict: Verdict) -> None:
    place = ""
    for death in trial.deaths:
        ended = in_child(partial(_act, trial.scenario, death))
        if ended.was_killed and ended.said == {"died": str(death)}:
            verdict.killed += 1
            place += f" {death};"
        elif ended.status == 0:
            verdict.is_survived = True
            break
        else:
            verdict.findings.append(f"{death}: ended with {ended.status}, hung={ended.hung}, said {ended.said}")
    verdict.findings += [f"killed{place} {finding}" for finding in _recover(trial.scenario, trial.deaths[0])]


def _begin(name: str) -> None:
    require_bareness()
    if SCENARIOS[name].is_on_kafka:
        mock_kafka.empty()
    demand(in_child(partial(_prepare, name)))


def _prepare(scenario_name: str, _: int) -> None:
    scenario = _open(scenario_name)
    if connection.vendor == "postgresql":
        _wait_for_the_dead()
        with connection.cursor() as cursor:
            cursor.execute(EMPTYING)
            cursor.execute(cursor.fetchone()[0])  # forty times as fast as TRUNCATE, which makes files
    else:
        for leftover in own.folder().glob("sweep.sqlite3*"):
            leftover.unlink()
        shutil.copy(own.folder().parent / "sweep.sqlite3", own.folder() / "sweep.sqlite3")
    shutil.rmtree(own.folder() / "journal", ignore_errors=True)
    (own.folder() / "journal").mkdir()
    for name in ("healed", "tasks"):
        (own.folder() / name).unlink(missing_ok=True)
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
        scenario = _open(name)
        _wait_for_the_dead()
        if death is not None:
            scenario.act(scenario)
        late = [] if acts.settle(scenario) else [f"is not settled after {acts.PATIENCE} s"]
        return [*late, *judging.findings(scenario, is_undisturbed=death is None)]

    ended = in_child(again)
    if ended.status != 0 or ended.hung:
        return [f"recovery ended with {ended.status}, hung={ended.hung}"]
    found: list[str] = ended.said
    return found


def _open(name: str) -> Any:
    """Return a scenario, with the buses that it asks for."""
    from django_eventbus.bus import buses

    scenario = SCENARIOS[name]
    settings.EVENTBUS = own.bus(**{**(mock_kafka.settings() if scenario.is_on_kafka else {}), **scenario.settings})
    buses.clear()
    return scenario


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


def demand(ended: Ended) -> None:
    """Raise where a child that prepares something did not end well."""
    if ended.status != 0 or ended.hung:
        raise RuntimeError(f"preparing ended with {ended.status}, hung={ended.hung}")
