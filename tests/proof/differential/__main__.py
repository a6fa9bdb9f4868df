"""Run from the repository's root: ``python -m tests.proof.differential --help``. Exit status 1 where they disagree."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.proof.model.exploring import Explorer, Way, wander
from tests.proof.model.state import Bounds
from tests.proof.model.worlds import SMALL


def nobody_wakes_the_next() -> None:
    """Forget to give the next row of a lane its time."""
    from django_eventbus.models.retry import RetryQuerySet

    RetryQuerySet.promote = lambda self, lanes: False  # type: ignore[method-assign]


def no_inbox() -> None:
    """Handle every delivery, also one that was handled before."""
    from django_eventbus.consumer.arrivals import Arrivals

    Arrivals._is_duplicate = lambda self, run: False  # type: ignore[method-assign]


BUGS = {bug.__name__: bug for bug in (nobody_wakes_the_next, no_inbox)}
WORLDS = [name for name, bounds in SMALL.items() if not bounds.is_looking]  # when a relay looks is its own affair


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof.differential", description=__doc__)
    parser.add_argument("--world", nargs="*", default=WORLDS, choices=WORLDS)
    parser.add_argument("--walks", type=int, default=20, help="Random walks through each world.")
    parser.add_argument("--steps", type=int, default=40, help="The longest walk.")
    parser.add_argument("--every-step", action="store_true", help="Also a shortest way to each kind of step.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bug", choices=[*BUGS, ""], default="", help="Plant this one in the code.")
    options = parser.parse_args()
    disagreements = 0
    for handlers in (1, 2):
        worlds = [name for name in options.world if max(1, SMALL[name].handlers) == handlers]
        pid = os.fork() if worlds else 0
        if worlds and pid == 0:
            os._exit(play(worlds, options, handlers))
        if worlds:
            disagreements |= os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 1 if disagreements else 0


def play(worlds: list[str], options: argparse.Namespace, handlers: int) -> int:
    from tests.history.own_services import new_database
    from tests.services import postgres, run, stop

    is_ours, found = run.begin(), 0
    try:
        with tempfile.TemporaryDirectory(prefix="eventbus-differential-") as folder:
            url = new_database(postgres.url())
            os.environ |= {"PROOF_POSTGRES": url, "PROOF_FOLDER": str(Path(folder, "journal"))}
            os.environ |= {
                "PROOF_HANDLERS": str(handlers),
                "DJANGO_SETTINGS_MODULE": "tests.proof.differential.settings",
            }
            for world in worlds:
                found += play_world(world, url, options)
    finally:
        if is_ours:
            stop.stop_services()
            run.end()
    return 1 if found else 0


def play_world(world: str, url: str, options: argparse.Namespace) -> int:
    import django
    import psycopg
    from django.core.management import call_command

    django.setup()
    from tests.proof.differential.actors import Disagreement, once
    from tests.proof.differential.stage import Stage

    if options.bug:
        BUGS[options.bug]()
    once(lambda: call_command("migrate", verbosity=0, run_syncdb=True))
    began, steps, wrong = time.monotonic(), 0, []
    ways = ways_of(SMALL[world], options, random.Random(f"{options.seed} {world}"))
    with psycopg.connect(url, autocommit=True) as session:
        for way in ways:
            stage = Stage(SMALL[world], session)
            try:
                stage.follow(way)
            except Disagreement as exc:
                wrong.append({"way": [str(label) for label, _ in way], "disagreement": str(exc)})
            finally:
                stage.close()
            steps += len(way)
    report = {"world": world, "traces": len(ways), "steps": steps, "disagreements": wrong, "seed": options.seed}
    sys.stdout.write(json.dumps({**report, "seconds": round(time.monotonic() - began, 1)}) + "\n")
    sys.stdout.flush()
    return len(wrong)


def ways_of(bounds: Bounds, options: argparse.Namespace, chosen: random.Random) -> list[Way]:
    walks = [wander(bounds, steps=options.steps, random=chosen) for _ in range(options.walks)]
    if options.every_step:
        explorer = Explorer(bounds)
        explorer.run()
        walks += explorer.ways()
    return walks


if __name__ == "__main__":
    sys.exit(main())
