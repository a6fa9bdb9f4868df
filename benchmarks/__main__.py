"""Which benchmarks run, how often, how large, and what is printed at the end?"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import memory, report, services
from .bench import Bench, LeftOut, tell
from .consuming import handling, stepping, waiting
from .peers import comparing
from .publishing import transactions, waking
from .relaying import breakdown, draining, latency, scheduling

Benchmark = Callable[[Bench], list[report.Row]]

BENCHMARKS: Mapping[str, Benchmark] = {
    "publish": transactions.run,
    "drain": draining.run,
    "breakdown": breakdown.run,
    "window": draining.run_disturbed,
    "schedule": scheduling.run,
    "latency": latency.run,
    "waking": waking.run,
    "consume": handling.run_single,
    "batch": handling.run_batch,
    "processes": handling.run_processes,
    "waiting": waiting.run,
    "sagas": stepping.run,
    "memory": memory.run,
    "peers": comparing.run,
}


@dataclass(slots=True)
class Results:
    """Be what the benchmarks of a run found."""

    rows: list[report.Row] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def main() -> int:
    arguments = parse()
    if arguments.names == ["micro"]:
        from . import micro

        return micro.main()
    began = time.monotonic()
    with services.started() as (server, broker):
        machine = report.machine(**services.versions(server))
        sys.stdout.write(", ".join(f"{name} {value}" for name, value in machine.items()) + "\n")
        with services.database(server, broker) as database:
            bench = Bench(database=database, kafka=broker, rounds=arguments.rounds, scale=arguments.scale)
            results = measure(bench, arguments.names, began=began)
    seconds = time.monotonic() - began
    sys.stdout.write(
        report.table(results.rows) + f"\n\n{seconds:.0f} s, {arguments.rounds} rounds, scale {arguments.scale:g}\n"
    )
    for what, names in {"LEFT OUT": results.left_out, "FAILED": results.failures}.items():
        for name in names:
            sys.stdout.write(f"{what} {name}\n")
    if arguments.json is not None:
        arguments.json.write_text(report.as_json(results.rows, machine=machine, seconds=seconds))
    return 1 if results.failures else 0


def measure(bench: Bench, names: Sequence[str], *, began: float) -> Results:
    """Run those that are named, or all that can run here."""
    results = Results()
    for name in names or BENCHMARKS:
        tell(f"{name} ({time.monotonic() - began:.0f} s)")
        try:
            found = BENCHMARKS[name](bench)
        except LeftOut as exc:
            (results.failures if names else results.left_out).append(f"{name}: {exc}")
        # The boundary of a benchmark: the others still have something to say, the exit status says it all.
        except Exception as exc:  # noqa: BLE001
            traceback.print_exc()
            results.failures.append(f"{name}: {type(exc).__name__}: {exc}")
        else:
            results.rows += found
            tell(report.table(found).partition("\n")[2].partition("\n")[2].replace("\n", "\n  "))
    return results


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"what to run: {', '.join(BENCHMARKS)} (default: all), or micro alone"
    )
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds of each pair (default: %(default)s)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="size of backlogs; 20 drains 2 million rows (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="also write the results into this file")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown and arguments.names != ["micro"]:
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(BENCHMARKS)}, and micro alone")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
