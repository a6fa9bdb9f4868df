"""How do the processes of a load start, and who starts them again when they end?"""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.history.members import ROOT, is_frozen

LOOK = 0.1  # seconds between two looks of whoever starts processes again
PATIENCE = 45.0  # seconds for a process to end by itself


@dataclass(kw_only=True)
class Member:
    """One place in a crew, held by one process after the other."""

    name: str
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_alive(self) -> bool:
        return self.process.poll() is None


@dataclass(kw_only=True)
class Crew:
    """Processes of one command."""

    name: str
    command: list[str]
    count: int
    environment: dict[str, str]
    logs: Path
    members: list[Member] = field(default_factory=list)
    expected_deaths: set[int] = field(default_factory=set)  # pids that somebody has killed on purpose

    def start(self) -> None:
        for number in range(1, self.count + 1):
            name = f"{self.name}-{number}"
            self.members.append(Member(name=name, process=self.launch(name)))

    def launch(self, name: str) -> subprocess.Popen[bytes]:
        with (self.logs / f"{name}.log").open("ab") as log:
            return subprocess.Popen(self.command, env=self.environment, cwd=ROOT, stdout=log, stderr=log)

    def kill(self, member: Member) -> None:
        self.expected_deaths.add(member.pid)
        member.process.kill()

    def replace(self) -> list[str]:
        """Start again whoever has ended, as a service manager does; tell who ended by himself, and how."""
        alone: list[str] = []
        for member in self.members:
            if (code := member.process.poll()) is None:
                continue
            if member.pid not in self.expected_deaths:
                alone.append(f"{member.name} ended with {code}")
            member.process = self.launch(member.name)
        return alone

    def end(self) -> list[str]:
        """Ask all to finish; return who did not do so with status 0 in time."""
        for member in self.members:
            member.process.send_signal(signal.SIGCONT)
            member.process.terminate()
        ends_at, failed = time.monotonic() + PATIENCE, []
        for member in self.members:
            try:
                code = member.process.wait(max(0.1, ends_at - time.monotonic()))
            except subprocess.TimeoutExpired:
                code = None
            if code:
                failed.append(f"{member.name} ended with {code}")
            elif code is None:
                failed.append(f"{member.name} did not end in {PATIENCE:.0f} s")
        self.kill_all()
        return failed

    def kill_all(self) -> None:
        for member in self.members:
            if member.is_alive():
                member.process.kill()
            member.process.wait(10)
        self.members.clear()

    def frozen(self) -> list[Member]:
        return [member for member in self.members if member.is_alive() and is_frozen(member.pid)]


class Keeper:
    """Start the members of crews again as soon as they end, until it is told to let go."""

    def __init__(self, *crews: Crew) -> None:
        self.crews = list(crews)
        self.ended_alone: list[str] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()  # protects `crews`
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def let_go(self, *crews: Crew) -> None:
        """Leave these crews alone from now on."""
        with self._lock:
            self.crews = [crew for crew in self.crews if crew not in crews]

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.wait(LOOK):
            with self._lock:
                for crew in self.crews:
                    self.ended_alone += crew.replace()
