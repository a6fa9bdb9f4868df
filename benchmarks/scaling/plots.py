"""How is a curve drawn, so that it can be read on light and on dark paper?

A plot is a few lines and texts, so it is written as they are: a library would bring forty megabytes, and outlines of
letters instead of text. All colours stand halfway between white and black: contrast 4.2 with either.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from .curves import FLAT, Curve, Point, Series
from .results import duration, table

WIDTH, TOP, LEFT, RIGHT, PLOT = 720, 24, 56, 24, 240  # PLOT: height of the plot itself
INK = "#7a7a7a"
COLOURS = ("#227adf", "#c25d05", "#148d50", "#cf3f9f")
MARKS = ("circle", "square", "diamond", "triangle")


def main() -> int:
    """Draw the curves of result files into a folder, and print their tables."""
    *sources, folder = map(Path, sys.argv[1:])
    for source in sources:
        found = json.loads(source.read_text())
        for curve in map(as_curve, found["curves"]):
            about = f"{found['measured_at'][:10]}, commit {found['commit']}, {found['rounds']} rounds"
            (folder / f"{curve.name}.svg").write_text(svg(curve, about=about))
            sys.stdout.write(f"{curve.name}: {about}\n\n{table([curve])}\n\n")
    return 0


def as_curve(found: dict[str, Any]) -> Curve:
    """Read what results.py has written."""
    series = tuple(
        Series(**{**one, "points": tuple(Point(**point) for point in one["points"])}) for one in found["series"]
    )
    return Curve(name=found["name"], grows=found["grows"], series=series)


def svg(curve: Curve, *, about: str) -> str:
    """Draw what an event costs in proportion to the smallest size."""
    height = TOP + PLOT + 52 + 20 * len(curve.series)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' font-family="system-ui, sans-serif" font-size="13" fill="{INK}" role="img">'
    )
    title = f"<title>Time of one event, by {escape(curve.grows)}</title><desc>{escape(about)}</desc>"
    return "\n".join([head, title, *_frame(curve), *_lines(curve), *_legend(curve), "</svg>", ""])


def _frame(curve: Curve) -> Iterator[str]:
    highest = _highest(curve)
    for tick in range(math.floor(highest) + 1):
        yield _line(LEFT, _y(tick, highest), WIDTH - RIGHT, _y(tick, highest), opacity=0.35)
        yield _text(LEFT - 8, _y(tick, highest) + 4, f"{tick}x", anchor="end")
    yield _line(LEFT, _y(FLAT, highest), WIDTH - RIGHT, _y(FLAT, highest), dashes="6 5")
    yield _text(LEFT - 8, _y(FLAT, highest) + 4, f"{FLAT:g}x", anchor="end")
    sizes = _sizes(curve)
    for size in sizes:
        yield _text(_x(size, sizes), TOP + PLOT + 20, f"{size:,}", anchor="middle")
    yield _text((LEFT + WIDTH - RIGHT) / 2, TOP + PLOT + 40, curve.grows, anchor="middle")


def _lines(curve: Curve) -> Iterator[str]:
    highest, sizes = _highest(curve), _sizes(curve)
    for place, one in enumerate(curve.series):
        first = one.points[0].seconds
        spots = [(_x(point.size, sizes), _y(point.seconds / first, highest)) for point in one.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        dashes = "" if one.counts else ' stroke-dasharray="2 4"'
        yield f'<polyline points="{path}" fill="none" stroke="{COLOURS[place]}" stroke-width="2"{dashes}/>'
        yield from (_mark(place, x, y) for x, y in spots)


def _legend(curve: Curve) -> Iterator[str]:
    for place, one in enumerate(curve.series):
        y = TOP + PLOT + 64 + 20 * place
        yield _mark(place, LEFT + 4, y - 4)
        first, last = (duration(one.points[end].seconds) for end in (0, -1))
        yield _text(LEFT + 18, y, f"{one.name}, per {one.unit}: {first} to {last}")


def _sizes(curve: Curve) -> Sequence[int]:
    return [point.size for point in curve.series[0].points]


def _highest(curve: Curve) -> float:
    ratios = [point.seconds / one.points[0].seconds for one in curve.series for point in one.points]
    return max(2.0, math.ceil(max(ratios) * 4) / 4)


def _x(size: int, sizes: Sequence[int]) -> float:
    share = math.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0])
    return LEFT + 28 + share * (WIDTH - LEFT - RIGHT - 64)


def _y(ratio: float, highest: float) -> float:
    return TOP + PLOT * (1 - ratio / highest)


def _line(x: float, y: float, to_x: float, to_y: float, *, opacity: float = 1.0, dashes: str = "") -> str:
    style = f' stroke-dasharray="{dashes}"' if dashes else f' stroke-opacity="{opacity}"'
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{INK}"{style}/>'


def _text(x: float, y: float, words: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _mark(place: int, x: float, y: float) -> str:
    fill = f'fill="{COLOURS[place]}"'
    match MARKS[place]:
        case "circle":
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" {fill}/>'
        case "square":
            return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" {fill}/>'
        case "diamond":
            return f'<path d="M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z" {fill}/>'
        case _:
            return f'<path d="M{x:.1f} {y - 5:.1f}l5 9h-10z" {fill}/>'


if __name__ == "__main__":
    sys.exit(main())
