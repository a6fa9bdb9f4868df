"""Send a million mutated records through a consumer and account for each: ``python -m tests.proof.fuzz --help``.

Run from the repository's root. It starts its own PostgreSQL and Kafka. Exit status 1 where anything is found.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.history.own_services import own_services
from tests.proof.fuzz.running import ROOT, Stage, any_seed, run_fuzz, told


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof.fuzz", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=any_seed())
    parser.add_argument("--unknown", choices=["skip", "dead_letter"], default="skip", help="CONSUMER['UNKNOWN_EVENT'].")
    parser.add_argument("--json", type=Path, help="Write the report to this file too.")
    parser.add_argument("--bug", default="", help="Plant this one: see tests/proof/fuzz/bugs.py.")
    options = parser.parse_args()
    os.chdir(ROOT)
    began = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:7.1f} s  {text}\n")
        sys.stderr.flush()

    say(f"seed {options.seed}, {options.records} records")
    with own_services() as (url, broker), tempfile.TemporaryDirectory(prefix="eventbus-fuzz-") as folder:
        report = run_fuzz(
            Stage(
                url=url,
                broker=broker,
                topic="fuzz",
                folder=Path(folder),
                records=options.records,
                seed=options.seed,
                keeps_unknown=options.unknown == "dead_letter",
                bug=options.bug,
                say=say,
            )
        )
    text = json.dumps(told(report), indent=1)
    if options.json:
        options.json.write_text(text + "\n")
    sys.stdout.write(text + "\n")
    say("clean" if report.is_clean else f"{report.verdict.wrong} findings")
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
