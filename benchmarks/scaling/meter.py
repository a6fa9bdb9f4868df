"""How much time do events take by the clock, and how much of the processors, on both sides of a connection?"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psutil


class Meter:
    """Add up blocks of work; one sample is the time of one event in a block."""

    def __init__(self, servers: Iterable[int] = ()) -> None:
        self.serve(*servers)
        self.samples: list[float] = []
        self.ours = 0.0
        self.servers = 0.0
        self.events = 0

    def serve(self, *servers: int) -> None:
        """Watch these processes from now on."""
        self._servers = [psutil.Process(pid) for pid in servers]

    @contextmanager
    def block(self, events: int) -> Iterator[None]:
        """Time a block in which so many events pass."""
        served, used, began = self.served(), time.process_time(), time.perf_counter()
        yield
        ended = time.perf_counter()
        self.ours += time.process_time() - used
        self.servers += self.served() - served  # in steps of 10 ms: right for the sum of many blocks
        self.samples.append((ended - began) / events)
        self.events += events

    def note(self, events: int, *, each: float, ours: float, servers: float) -> None:
        """Add what was measured elsewhere."""
        self.samples.append(each)
        self.ours += ours
        self.servers += servers
        self.events += events

    def served(self) -> float:
        """Return the processor seconds that the watched processes have taken so far."""
        times = [process.cpu_times() for process in self._servers]
        return sum(each.user + each.system for each in times)
