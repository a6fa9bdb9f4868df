"""Run the long form of every harness, one after the other: ``python -m tests.proof [--minutes N] [NAME ...]``.

Exit status 1 where any of them found something, or did not come to its end.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.proof.harnesses import HARNESSES, shares_of

ROOT = Path(__file__).resolve().parents[2]
SLACK = 15.0  # minutes beyond twice its share, after which a harness hangs


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one harness came to."""

    name: str
    command: str
    status: int
    minutes: float
    told: Any  # its last line, where that is JSON

    @property
    def verdict(self) -> str:
        match self.status:
            case 0:
                return "holds"
            case 1:
                return "FOUND SOMETHING"
        return f"DID NOT END WELL ({self.status})"


def main() -> int:
    options = arguments()
    names = options.names or list(HARNESSES)
    shares: dict[str, Any] = shares_of(names, minutes=options.minutes) if options.minutes else dict.fromkeys(names)
    ran: list[Ran] = []
    try:
        for name in names:
            ran.append(run(name, minutes=shares[name], seed=options.seed))
    finally:
        tell(ran, options)
    return 1 if any(one.status for one in ran) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *HARNESSES], help=f"{', '.join(HARNESSES)}.")
    parser.add_argument("--minutes", type=float, default=0, help="For all together; without, each does all it has to.")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--json", type=Path, help="Write the summary into this file.")
    return parser.parse_args()


def run(name: str, *, minutes: float | None, seed: int) -> Ran:
    """Run one harness to its end, and pass on what it prints."""
    command = HARNESSES[name].arguments(minutes=minutes, seed=seed)
    sys.stderr.write(f"== {name}: python {' '.join(command)}\n")
    began, last = time.monotonic(), ""
    with subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        watch = threading.Timer(60 * (2 * (minutes or 0) + SLACK), child.terminate)
        if minutes is not None:
            watch.start()
        try:
            for line in child.stdout or ():
                sys.stdout.write(line)
                sys.stdout.flush()
                last = line.strip() or last
            status = child.wait()
        except BaseException:
            child.terminate()
            raise
        finally:
            watch.cancel()
    took = round((time.monotonic() - began) / 60, 1)
    return Ran(name=name, command="python " + " ".join(command), status=status, minutes=took, told=read(last))


def read(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return line


def tell(ran: Sequence[Ran], options: argparse.Namespace) -> None:
    lines = ["", f"{'harness':14}{'minutes':>8}  verdict"]
    lines += [f"{one.name:14}{one.minutes:8.1f}  {one.verdict}" for one in ran]
    sys.stdout.write("\n".join([*lines, f"seed {options.seed}, commit {commit()}", ""]))
    if options.json:
        summary = {"seed": options.seed, "commit": commit(), "harnesses": [asdict(one) for one in ran]}
        options.json.write_text(json.dumps(summary, indent=1) + "\n")


def commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
