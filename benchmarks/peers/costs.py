"""What does it take to drain a row: seconds by the clock, of the processor, transactions that write, bytes of WAL?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg

from benchmarks.children import Child
from benchmarks.relaying.breakdown import servers

# A transaction that writes takes one id; both numbers are the whole server's, on which nobody else writes meanwhile.
COUNTERS = """
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
       pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint
"""


COSTS = ("processor", "postgres", "kafka", "transactions", "wal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Be what one drain of a backlog took; all but the rate is for one row."""

    rate: float  # rows a second by the clock, from when everything is connected until all are done
    processor: float  # seconds, of the process that drains
    postgres: float  # the same of PostgreSQL, where this run has started it
    kafka: float  # the same of the broker
    transactions: float
    wal: float  # bytes


def measured(connection: psycopg.Connection[Any], child: Child, count: int, drain: Callable[[], float]) -> Drain:
    """Drain so many rows; `drain` returns the rate that it found."""
    before = _counters(connection, child)
    rate = drain()
    after = _counters(connection, child)
    return Drain(rate=rate, **{name: (after[name] - before[name]) / count for name in COSTS})


def _counters(connection: psycopg.Connection[Any], child: Child) -> dict[str, float]:
    times = psutil.Process(child.process.pid).cpu_times()
    found = connection.execute(COUNTERS).fetchone()
    assert found is not None
    return dict.fromkeys(COSTS, 0.0) | {
        "processor": times.user + times.system,
        "transactions": found[0],
        "wal": found[1],
        **servers(),
    }
