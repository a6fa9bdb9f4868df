"""Run from the repository's root: ``python -m tests.proof.model [--large]``. Exit status 1 where a guarantee breaks."""

from __future__ import annotations

import argparse
import sys
import time

from tests.proof.model.exploring import Explorer
from tests.proof.model.worlds import LARGE, SMALL


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof.model", description=__doc__)
    parser.add_argument("--large", action="store_true", help="Explore the large worlds: minutes, and some gigabytes.")
    parser.add_argument("--world", nargs="*", default=[], help="Names in tests/proof/model/worlds.py; all of them.")
    options = parser.parse_args()
    worlds = LARGE if options.large else SMALL
    violations = 0
    for name in options.world or worlds:
        began = time.monotonic()
        found = Explorer(worlds[name]).run()
        seconds = time.monotonic() - began
        verdict = found.violation or "holds"
        say(f"{name:12} {found.states:9,} states {found.steps:10,} steps {seconds:7.1f} s  {verdict}")
        for label, _ in found.way:
            say(f"             {label}")
        violations += bool(found.violation)
    return 1 if violations else 0


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
