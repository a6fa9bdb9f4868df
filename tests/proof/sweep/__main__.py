"""Run from the repository's root: ``python -m tests.proof.sweep --help``. Exit status 1 where anything is found."""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.proof.sweep.sweeping import Swept

ROOT = Path(__file__).resolve().parents[3]


def main() -> int:
    options = arguments()
    if options.database != "all":
        return sweep_here(options)
    status, is_over = 0, over_after(0)
    for database in ("sqlite", "postgresql"):
        command = [sys.executable, "-m", "tests.proof.sweep", *sys.argv[1:], "--database", database]
        with subprocess.Popen(command) as child:
            while child.poll() is None:
                if is_over():
                    child.terminate()
                time.sleep(0.2)
        status |= child.returncode
    return status


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.proof.sweep", description=__doc__)
    parser.add_argument("--database", choices=["all", "postgresql", "sqlite"], default="all")
    parser.add_argument("--scenario", nargs="*", default=[], help="Names of SCENARIOS; all of them.")
    parser.add_argument("--sample", type=float, default=1.0, help="Share of the crash points; 1 is all of them.")
    parser.add_argument("--pairs", type=int, default=0, help="Also kill the recovery, at so many pairs of points.")
    parser.add_argument("--only", default="", help="Only points whose statement or call contains this text.")
    parser.add_argument("--whole", nargs="*", default=[], help="Scenarios of which all points are taken nevertheless.")
    parser.add_argument("--jobs", type=int, default=2, help="Trials at once, each on a database of its own.")
    parser.add_argument("--minutes", type=float, default=0, help="So long kill, in any order of the points.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bug", default="", help="Plant this one: see tests/proof/sweep/bugs.py.")
    return parser.parse_args()


def sweep_here(options: argparse.Namespace) -> int:
    os.chdir(ROOT)
    began, findings = time.monotonic(), 0
    is_over = over_after(options.minutes)
    with tempfile.TemporaryDirectory(prefix="eventbus-sweep-") as folder, database_of(options.database):
        os.environ |= {"SWEEP_FOLDER": folder, "DJANGO_SETTINGS_MODULE": "tests.proof.sweep.settings"}
        total: dict[str, Any] = {"scenarios": 0, "points": 0, "chosen": 0, "runs": 0, "deaths": 0, "cost": 0.0}
        for swept in results(options, is_over):
            say(asdict(swept))
            total["scenarios"] += 1
            total |= {name: round(total[name] + getattr(swept, name), 1) for name in total if name != "scenarios"}
            findings += len(swept.findings)
    total |= {"findings": findings, "seconds": round(time.monotonic() - began, 1), "seed": options.seed}
    say({"database": options.database, **total, "jobs": options.jobs, "commit": commit()})
    if not total["deaths"]:
        return 2  # who kills nobody has proved nothing
    return 1 if findings else 0


def results(options: argparse.Namespace, is_over: Callable[[], bool]) -> Iterator[Swept]:
    """Import everything once, before the forks, and sweep."""
    import django

    django.setup()
    import django.db.models.sql.compiler
    import psycopg  # noqa: F401

    import tests.proof.sweep.transport  # noqa: F401
    from tests.proof.sweep.bugs import BUGS
    from tests.proof.sweep.crew import Crew
    from tests.proof.sweep.scenarios import SCENARIOS
    from tests.proof.sweep.sweeping import Choice, Sweep, prepare_databases

    prepare_databases(options.jobs)
    if options.bug:
        BUGS[options.bug]()
    gc.collect()
    gc.freeze()  # else each child's collector would copy all that it shares with its parent
    crew = Crew(options.jobs)
    try:
        choice = Choice(
            seed=options.seed, share=options.sample, whole=options.whole, text=options.only, pairs=options.pairs
        )
        sweep = Sweep(crew=crew, choice=choice, is_over=is_over, is_shuffled=options.minutes > 0)
        yield from sweep.run(options.scenario or list(SCENARIOS))
    finally:
        crew.close()


def over_after(minutes: float) -> Callable[[], bool]:
    """Return what says that somebody wants an end, or that time is up: it counts from the first question."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    answered_at: list[float] = []

    def is_over() -> bool:
        answered_at.append(time.monotonic())
        del answered_at[1:]
        return bool(asked) or (minutes > 0 and time.monotonic() - answered_at[0] >= 60 * minutes)

    return is_over


@contextmanager
def database_of(vendor: str) -> Iterator[None]:
    """Give the sweep a database of its own, and a server where nobody has one."""
    if vendor == "sqlite":
        yield
        return
    from tests.history.own_services import new_database
    from tests.services import postgres, run, stop

    is_ours = run.begin()
    try:
        os.environ["SWEEP_POSTGRES"] = new_database(postgres.url())
        yield
    finally:
        if is_ours:
            stop.stop_services()
            run.end()


def commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def say(thing: object) -> None:
    sys.stdout.write(json.dumps(thing) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
