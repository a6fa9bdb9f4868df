"""Run from the repository's root: ``python -m tests.proof.sweep --help``. Exit status 1 where anything is found."""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.proof.sweep.mock_kafka import mock_cluster

ROOT = Path(__file__).resolve().parents[3]


def main() -> int:
    options = arguments()
    if options.database != "all":
        return sweep_here(options)
    status = 0
    for database in ("sqlite", "postgresql"):
        status |= subprocess.call([sys.executable, "-m", "tests.proof.sweep", *sys.argv[1:], "--database", database])
    return status


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.proof.sweep", description=__doc__)
    parser.add_argument("--database", choices=["all", "postgresql", "sqlite"], default="all")
    parser.add_argument("--scenario", nargs="*", default=[], help="Names of SCENARIOS; all of them.")
    parser.add_argument("--sample", type=float, default=1.0, help="Share of the crash points; 1 is all of them.")
    parser.add_argument("--pairs", type=int, default=0, help="Also kill the recovery, at so many pairs of points.")
    parser.add_argument("--only", default="", help="Only points whose statement or call contains this text.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bug", default="", help="Plant this one: see tests/proof/sweep/bugs.py.")
    return parser.parse_args()


def sweep_here(options: argparse.Namespace) -> int:
    os.chdir(ROOT)
    began, found = time.monotonic(), 0
    with (
        tempfile.TemporaryDirectory(prefix="eventbus-sweep-") as folder,
        database_of(options.database),
        mock_cluster() as empty,
    ):
        os.environ |= {"SWEEP_FOLDER": folder, "DJANGO_SETTINGS_MODULE": "tests.proof.sweep.settings"}
        import django

        django.setup()
        from tests.proof.sweep import judging  # noqa: F401  once, before the forks
        from tests.proof.sweep.bugs import BUGS
        from tests.proof.sweep.scenarios import SCENARIOS
        from tests.proof.sweep.sweeping import Choice, prepare_database, sweep, use_broker

        use_broker(empty)
        prepare_database()
        if options.bug:
            BUGS[options.bug]()
        total: dict[str, Any] = {"deaths": 0, "points": 0, "findings": 0}
        for name in options.scenario or SCENARIOS:
            choice = Choice(share=options.sample, text=options.only, random=random.Random(f"{options.seed} {name}"))
            swept = sweep(name, chosen=choice, pairs=options.pairs)
            say(asdict(swept))
            total["deaths"] += swept.deaths
            total["points"] += swept.points
            found += len(swept.findings)
    total |= {"findings": found, "seconds": round(time.monotonic() - began, 1), "seed": options.seed}
    say({"database": options.database, **total, "commit": commit()})
    return 1 if found else 0


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
