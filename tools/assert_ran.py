"""Fail unless tox's result file shows that each named environment ran its commands, and that all of them succeeded."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def problem_of(environment: dict[str, Any] | None) -> str | None:
    if environment is None:
        return "is not in the result"
    commands = environment.get("test", [])
    if not commands:
        return "ran no command"
    failed = [entry for entry in commands if entry["retcode"] != 0]
    return f"failed: {' '.join(failed[0]['command'])}" if failed else None


def main(result: str, wanted: list[str]) -> int:
    environments = json.loads(Path(result).read_text())["testenvs"]
    problems = {name: problem for name in wanted if (problem := problem_of(environments.get(name)))}
    for name, problem in problems.items():
        print(f"error: {name} {problem}")
    ran = [name for name in wanted if name not in problems]
    print(f"{len(ran)} of {len(wanted)} environments ran: {', '.join(ran)}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
