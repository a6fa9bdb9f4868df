"""How do curves become a table, and a file that plots are drawn from?"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from .curves import Curve, Series

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def table(curves: Iterable[Curve]) -> str:
    """Lay series out in rows of Markdown: the time of one event at each size, the last in proportion to the first."""
    return "\n\n".join("\n".join(_lines(curve)) for curve in curves)


def as_json(curves: Sequence[Curve], *, machine: dict[str, Any], commit: str, scale: str, rounds: int) -> str:
    """Say what was found, where and when, for a plot that names all of it."""
    found = {
        "machine": machine,
        "commit": commit,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "scale": scale,
        "rounds": rounds,
        "curves": [asdict(curve) for curve in curves],
    }
    return json.dumps(found, indent=1)


def commit_of_code() -> str:
    """Return the commit that this process was started from."""
    try:
        answer = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()


def duration(seconds: float) -> str:
    """Say a time in three figures."""
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= size), UNITS[-1])
    value = seconds / size
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def _lines(curve: Curve) -> Iterable[str]:
    sizes = [point.size for point in curve.series[0].points]
    yield f"| {curve.grows} | " + " | ".join(f"{size:,}" for size in sizes) + " | ratio | of processor time |"
    yield "|" + "---|" * (len(sizes) + 3)
    for one in curve.series:
        known = {point.size: duration(point.seconds) for point in one.points}
        times = " | ".join(known.get(size, "") for size in sizes)
        yield f"| {one.name}, per {one.unit} | {times} | {_ratio(one)} | {one.processor_ratio:.2f} |"


def _ratio(one: Series) -> str:
    return f"{one.ratio:.2f}" if one.is_flat else f"**{one.ratio:.2f}**"
