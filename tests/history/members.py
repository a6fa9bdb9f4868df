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
    frozen: dict[int, float] = field(default_factory=dict)  # pid -> when it was found frozen
    kills: int = 0
    freezes: int = 0

    def environment(self) -> dict[str, str]:
        raise NotImplementedError

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "django", self.command, "--json", *arguments]
        output = None if os.environ.get("HISTORY_VERBOSE") else subprocess.DEVNULL
        member = subprocess.Popen(command, env=self.environment(), cwd=ROOT, stdout=output, stderr=output)
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
        random.choice(self.members).send_signal(random.choice([signal.SIGSTOP, signal.SIGKILL]))

    def mend(self, *, patience: float) -> None:
        """Replace who died; let go on who has been frozen for `patience` seconds."""
        for member in list(self.members):
            if member.poll() is not None:
                self.kills += 1
                self.frozen.pop(member.pid, None)
                self.members.remove(member)
                self.start()
            elif is_frozen(member.pid):
                since = self.frozen.setdefault(member.pid, time.monotonic())
                if time.monotonic() - since > patience:
                    self.freezes += 1
                    del self.frozen[member.pid]
                    member.send_signal(signal.SIGCONT)


def is_frozen(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
