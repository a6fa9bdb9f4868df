"""How do results become one table, and which machine made them?"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

HEADINGS = ("what", "ours", "reference", "ratio", "target", "met")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Be one line of the table."""

    what: str
    ours: str
    reference: str = ""  # what ours is measured against; empty where the target is absolute
    ratio: float | None = None
    target: str = ""  # empty where a row only informs
    is_met: bool = True


def table(rows: Iterable[Row]) -> str:
    """Lay the rows out in columns of Markdown."""
    lines = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(HEADINGS))]
    texts = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([texts[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *texts[1:]])


def as_json(rows: Sequence[Row], *, machine: dict[str, Any], seconds: float) -> str:
    return json.dumps({"machine": machine, "seconds": round(seconds), "rows": [asdict(row) for row in rows]}, indent=2)


def machine(*, postgres: str, kafka: str) -> dict[str, Any]:
    """Describe what the numbers depend on."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "postgresql": postgres,
        "kafka": kafka,
        "python": platform.python_version(),
        **{name: version(name) for name in ("django", "psycopg", "confluent-kafka", "msgspec")},
    }


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    verdict = "yes" if row.is_met else "missed"
    return (row.what, row.ours, row.reference, ratio, row.target, verdict if row.target else "")


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
