"""Run from the repository's root: ``python -m tests.proof.chaos [FAULT ...]``; ``--list`` names the faults.

Exit status 1 where an event was lost, repeated or handled out of order, or where a goal was missed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from pathlib import Path

from tests.history.members import ROOT
from tests.proof.chaos import clocks, disks, processes, servers
from tests.proof.chaos.results import Result, table
from tests.proof.chaos.scene import Fault
from tests.proof.chaos.staging import try_fault
from tests.services import run, stop
from tests.services.kafka import KafkaBroker

FAULTS: dict[str, Fault] = {
    fault.name: fault for fault in (*servers.FAULTS, *processes.FAULTS, *disks.FAULTS, *clocks.FAULTS)
}


def main() -> int:
    options = arguments()
    if options.list:
        for fault in FAULTS.values():
            sys.stdout.write(
                f"{fault.name:22} {fault.what}{f' (not here: {why})' if (why := fault.why_not()) else ''}\n"
            )
        return 0
    os.chdir(ROOT)
    began, results = time.monotonic(), list[Result]()
    run.begin()
    try:
        broker = KafkaBroker.create()
        broker.start()
        for name in options.faults or FAULTS:
            results.append(
                try_fault(
                    FAULTS[name],
                    broker=broker,
                    seed=options.seed,
                    rate=options.rate,
                    seconds=options.seconds_before,
                    logs=options.logs,
                )
            )
            write(options, results, seconds=time.monotonic() - began)
        broker.forget()
    finally:
        stop.stop_services()
        run.end()
    sys.stdout.write(f"{table(results)}\nseed {options.seed}, {time.monotonic() - began:.0f} s\n")
    return 1 if any(result.findings or result.missed for result in results) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.proof.chaos", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", choices=[[], *FAULTS], help="Names; all of them.")
    parser.add_argument("--list", action="store_true", help="Name the faults, and what this machine lacks for them.")
    parser.add_argument("--rate", type=float, default=120.0, help="Events a second, which leave the machine headroom.")
    parser.add_argument("--seconds-before", type=float, default=10.0, help="Length of the phases before and after.")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--json", type=Path, help="Write all results into this file, after each fault.")
    parser.add_argument("--logs", type=Path, help="Keep here what the processes print.")
    return parser.parse_args()


def write(options: argparse.Namespace, results: list[Result], *, seconds: float) -> None:
    if options.json is not None:
        told = {"seed": options.seed, "rate": options.rate, "seconds": round(seconds, 1)}
        told |= {"results": [result.as_json() for result in results]}
        options.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
