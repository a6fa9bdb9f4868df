"""What does every benchmark share: servers, a database, topics, processes, and how often and how much is measured?"""

from __future__ import annotations

import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from . import settings
from .children import Child, Command
from .report import Row
from .topics import Topic


class WrongCount(AssertionError):
    """A run lost or invented rows: its numbers mean nothing."""


class LeftOut(RuntimeError):
    """A benchmark cannot run here; the message says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Hold what benchmarks are made with."""

    database: str  # conninfo of the benchmarks' own database
    kafka: str
    rounds: int
    scale: float

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.database, autocommit=True) as connection:
            yield connection

    @contextmanager
    def child(self, role: str, **environment: str) -> Iterator[Child]:
        child = Child(role, _named(environment))
        try:
            yield child
        finally:
            child.close()

    @contextmanager
    def command(self, *arguments: str, **environment: str) -> Iterator[Command]:
        command = Command(list(arguments), _named(environment))
        try:
            yield command
        except BaseException:
            command.process.kill()
            command.process.wait()
            raise
        command.close()

    def topic(self, *, partitions: int = 4) -> Topic:
        """Create a topic with a name of its own."""
        return Topic(self.kafka, f"bench.{uuid.uuid4().hex[:12]}", partitions=partitions)

    def scaled(self, count: int) -> int:
        return max(1000, int(count * self.scale))


def _named(environment: Mapping[str, str]) -> dict[str, str]:
    return {getattr(settings, name.upper()): value for name, value in environment.items()}


def require(expected: object, found: object, what: str) -> None:
    """Fail loudly where a count is not what it has to be."""
    if expected != found:
        raise WrongCount(f"{what}: expected {expected}, found {found}")


def wait_until(condition: Callable[[], bool], what: str, *, patience: float = 120, pause: float = 0.05) -> None:
    """Poll until something is so."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise WrongCount(f"{what}: not within {patience:g} s")
        time.sleep(pause)


def tell(text: str) -> None:
    """Say on a terminal, or in a log, how far it is."""
    sys.stderr.write(f"  {text}\n")
    sys.stderr.flush()


def median_ratio(ours: list[float], reference: list[float]) -> float:
    """Return the median of the ratios of neighbouring rounds: both of a round saw the same noise."""
    return statistics.median(a / b for a, b in zip(ours, reference, strict=True))


def rate_row(what: str, ours: list[float], reference: list[float], *, unit: str, at_least: float) -> Row:
    """Compare two rates, round by round."""
    ratio = median_ratio(ours, reference)
    return Row(
        what=what,
        ours=f"{statistics.median(ours):,.0f} {unit}",
        reference=f"{statistics.median(reference):,.0f} {unit}",
        ratio=ratio,
        target=f">= {at_least:.2f}",
        is_met=ratio >= at_least,
    )


def per_second(marks: list[tuple[float, int]]) -> float:
    """Return the rate between a tenth and all of what was counted at these moments: without the start."""
    total = marks[-1][1]
    begun = next(mark for mark in marks if mark[1] >= total / 10)
    return (total - begun[1]) / (marks[-1][0] - begun[0])
