"""Which curves are measured, up to which size, and what is printed at the end?"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import report, services
from benchmarks.bench import tell

from . import dead_letters, depth, handlers, inbox, parked, partitions, relays, results, worlds
from .curves import Curve
from .run import Run

CURVES: Mapping[str, Callable[[Run], Curve]] = {
    "depth": depth.measure,
    "inbox": inbox.measure,
    "partitions": partitions.measure,
    "parked": parked.measure,
    "handlers": handlers.measure,
    "dead_letters": dead_letters.measure,
    "relays": relays.measure,
}


def main() -> int:
    arguments = parse()
    curves: list[Curve] = []
    failures: list[str] = []
    began, commit = time.monotonic(), results.commit_of_code()
    with services.started() as (server, broker):
        machine = report.machine(**services.versions(server))
        with worlds.stage(server, broker) as stage:
            run = Run(stage=stage, scale=arguments.scale, rounds=arguments.rounds, largest=arguments.largest)
            for name in arguments.curves or CURVES:
                tell(f"{name} ({time.monotonic() - began:.0f} s)")
                try:
                    curves.append(CURVES[name](run))
                # The boundary of a curve: the others still have something to say, the exit status says it all.
                except Exception as exc:  # noqa: BLE001
                    traceback.print_exc()
                    failures.append(f"{name}: {type(exc).__name__}: {exc}")
                else:
                    sys.stdout.write(results.table(curves[-1:]) + "\n\n")
                    sys.stdout.flush()
                if arguments.json is not None:
                    found = results.as_json(
                        curves, machine=machine, commit=commit, scale=arguments.scale, rounds=arguments.rounds
                    )
                    arguments.json.write_text(found)
    steep = [f"{curve.name}: {one.name}" for curve in curves for one in curve.series if one.counts and not one.is_flat]
    sys.stdout.write(f"{time.monotonic() - began:.0f} s, {arguments.rounds} rounds, scale {arguments.scale}\n")
    for line in [*(f"NOT FLAT {name}" for name in steep), *(f"FAILED {failure}" for failure in failures)]:
        sys.stdout.write(line + "\n")
    return 1 if failures or steep else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    known = ", ".join(CURVES)
    parser.add_argument("curves", nargs="*", metavar="CURVE", help=f"what to measure: {known} (default: all)")
    parser.add_argument("--scale", choices=("small", "full"), default="small", help="sizes (default: %(default)s)")
    parser.add_argument("--largest", type=int, metavar="N", help="leave out sizes above it")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the results into this file")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.curves if name not in CURVES]:
        parser.error(f"unknown: {', '.join(unknown)}; known are {known}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
