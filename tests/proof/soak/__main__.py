"""Run from the repository's root: ``python -m tests.proof.soak --minutes 60``. Exit status 1 where something leaks."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.history.members import ROOT
from tests.proof.load.database import LoadServer
from tests.proof.load.leaks import LEAKS
from tests.proof.load.running import Load
from tests.proof.soak.soaking import soak
from tests.services import run
from tests.services.kafka import KafkaBroker


def main() -> int:
    options = arguments()
    os.chdir(ROOT)
    run.begin()
    server, broker = LoadServer.create(), KafkaBroker.create()
    with tempfile.TemporaryDirectory(prefix="eventbus-soak-") as folder:
        try:
            server.start()
            broker.start()
            load = Load(
                url=server.new_database("load"),
                broker=broker.address,
                topic="load",
                folder=options.logs or Path(folder),
                rate=options.rate,
                seed=options.seed,
                leaks=tuple(options.leak),
                every=max(0.25, options.every / 4),
            )
            load.prepare()
            try:
                soaked = soak(load, seconds=options.minutes * 60, every=options.every, say=say)
            finally:
                load.stop()
        finally:
            broker.forget()
            server.stop()
            run.end()
    for trend in soaked.trends:
        sys.stdout.write(f"{'LEAK' if trend.is_leak else 'flat'}  {trend}\n")
    told = soaked.as_json() | {"rate_asked": options.rate, "seed": options.seed, "every": options.every}
    sys.stdout.write(f"{soaked.verdict}\n{soaked.rate:.1f} events a second; seed {options.seed}\n")
    sys.stdout.write("\n".join([*soaked.findings, "nothing found" if not soaked.findings else ""]) + "\n")
    if options.json is not None:
        options.json.write_text(json.dumps(told) + "\n")
    return 1 if soaked.findings else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.proof.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=100.0, help="Events a second.")
    parser.add_argument("--every", type=float, default=5.0, help="Seconds between two samples.")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--leak", nargs="*", choices=LEAKS, default=(), help="Plant some, which have to be found.")
    parser.add_argument("--json", type=Path, help="Write result and samples into this file.")
    parser.add_argument("--logs", type=Path, help="Keep here what the processes print.")
    return parser.parse_args()


def say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
