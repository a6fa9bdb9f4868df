"""How are processes of one kind kept running while they are killed and frozen?"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

ROOT = Path(__file__).resolve().parents[2]


@dataclass(kw_only=True)
class Members:
    """Start processes of one management command; whoever dies is replaced, whoever is frozen goes on later."""

    command: ClassVar[str]
    members: list[subprocess.Popen[bytes]] = field(default_factory=list)
    frozen: dict[int, float] = field(default_factory=dict)  # pid -> when it goes on
    draws: random.Random = field(default_factory=random.Random)
    log: Path | None = None  # what they print
    starts: int = 0
    kills: int = 0
    freezes: int = 0
    leaves: int = 0  # who was asked to go, and went
    exits: list[int] = field(default_factory=list)  # codes of those who ended though nobody killed them

    def environment(self) -> dict[str, str]:
        raise NotImplementedError

    def arguments(self) -> list[str]:
        return ["django", self.command, "--json"]

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        self.starts += 1
        environment = self.environment() | {"CHAOS_SEED": str(self.draws.random())}
        command = [sys.executable, "-m", *self.arguments(), *arguments]
        if os.environ.get("HISTORY_VERBOSE"):
            member = subprocess.Popen(command, env=environment, cwd=ROOT)
        else:
            with (self.log or Path(os.devnull)).open("ab") as output:
                member = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=output)
        self.members.append(member)
        return member

    def stop(self) -> None:
        for member in self.members:
            if member.poll() is None:
                member.kill()
            member.wait(10)
        self.members.clear()

    def harm(self) -> None:
        """Kill or freeze one of them."""
        self.draws.choice(self.members).send_signal(self.draws.choice([signal.SIGSTOP, signal.SIGKILL]))

    def kill(self, share: float) -> None:
        """Kill the one who stands at this share of the list."""
        self._at(share).kill()

    def freeze(self, share: float, *, seconds: float) -> None:
        """Freeze one for so long."""
        member = self._at(share)
        if member.pid not in self.frozen:
            self.frozen[member.pid] = time.monotonic() + seconds
            member.send_signal(signal.SIGSTOP)

    def leave(self, share: float) -> None:
        """Ask one to go."""
        self._at(share).terminate()

    def mend(self, *, patience: float) -> None:
        """Replace who died; let go on whose time is over, or who froze himself `patience` seconds ago."""
        for member in list(self.members):
            if member.poll() is not None:
                self._count_end(member.returncode)
                self.frozen.pop(member.pid, None)
                self.members.remove(member)
                self.start()
            elif is_frozen(member.pid) and time.monotonic() > self.frozen.setdefault(
                member.pid, time.monotonic() + patience
            ):
                self.freezes += 1
                del self.frozen[member.pid]
                member.send_signal(signal.SIGCONT)

    def thaw(self) -> None:
        """Let everybody go on."""
        for member in self.members:
            self.freezes += self.frozen.pop(member.pid, None) is not None
            member.send_signal(signal.SIGCONT)

    def _at(self, share: float) -> subprocess.Popen[bytes]:
        return self.members[int(share * len(self.members))]

    def _count_end(self, code: int) -> None:
        if code == -signal.SIGKILL:
            self.kills += 1
        elif code in (0, -signal.SIGTERM):  # the second: it had not come so far as to hear
            self.leaves += 1
        else:
            self.exits.append(code)


def is_frozen(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
