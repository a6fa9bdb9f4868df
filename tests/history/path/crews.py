"""Which processes take part in a run, and with which settings? Writers, relays and consumers of one bus."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tests.history.consumer_history import History
from tests.history.members import Members
from tests.history.path.tables import COUNTED, EXACTLY, LEFT, RUNS, TABLES
from tests.history.path.writers import LOCK_TIMEOUT
from tests.history.relay_history import GRACE, TRANSPORT, make_topic

IMPATIENT: dict[str, Any] = {"GRACE": GRACE, "SEND_DEADLINE": 1.0, "BATCH_SIZE": 50}


@dataclass(kw_only=True)
class Consumers(History):
    """The database, the topics, and the consumers."""

    notes: Path
    bug: str = ""
    outbox: dict[str, Any] = field(default_factory=lambda: dict(IMPATIENT))
    variables: dict[str, str] = field(default_factory=dict)  # of all processes

    def environment(self) -> dict[str, str]:
        environment = super().environment()
        bus = json.loads(environment["EVENTBUS_TEST_SETTINGS"])["default"]
        bus["OUTBOX"] = self.outbox
        bus["TRANSPORT"] = TRANSPORT
        ours = {
            "DJANGO_SETTINGS_MODULE": "tests.history.path.settings",
            "EVENTBUS_TEST_SETTINGS": json.dumps({"default": bus}),
            "HISTORY_NOTES": str(self.notes),
            "HISTORY_BUG": self.bug,
        }
        return environment | ours | self.variables

    def prepare(self) -> None:
        if not self.count("SELECT count(*) FROM pg_tables WHERE tablename = 'django_migrations'"):
            self.manage("migrate", "--verbosity", "0")
        self.execute(TABLES)
        for name in ("steps", "echoes"):
            make_topic(self.broker, f"{self.topic}.{name}")

    def counted(self) -> Counted:
        """Count cheaply what is there; a second late."""
        return Counted(*self.execute(COUNTED)[0])

    def is_done(self) -> bool:
        """Count exactly."""
        _, done, expected = self.execute(EXACTLY)[0]
        return bool(done >= expected) and not self.count(LEFT)


@dataclass(frozen=True, slots=True)
class Counted:
    """How much is there."""

    committed: int = 0  # events of the writers
    effects: int = 0
    dead: int = 0

    @property
    def handled(self) -> int:
        """Events, not runs."""
        return round((self.effects + self.dead) / RUNS)

    @property
    def doubt(self) -> int:
        """Events by which `waiting` may be too high: not every fifth has an echo."""
        return 300 + self.committed // 1000

    @property
    def waiting(self) -> int:
        return max(0, self.committed - self.handled)


@dataclass(kw_only=True)
class Relays(Members):
    """Relays of one bus."""

    command: ClassVar[str] = "drain_outbox"
    path: Consumers

    def environment(self) -> dict[str, str]:
        return self.path.environment()


@dataclass(kw_only=True)
class Writers(Members):
    """Processes that publish; each new one makes other choices."""

    command: ClassVar[str] = "tests.history.path.writers"
    path: Consumers
    seed: int

    def environment(self) -> dict[str, str]:
        environment = self.path.environment()
        databases = json.loads(environment["EVENTBUS_TEST_DATABASES"])
        for entry in databases.values():
            entry["OPTIONS"]["options"] = f"-c lock_timeout={round(LOCK_TIMEOUT * 1000)}"
        return environment | {"EVENTBUS_TEST_DATABASES": json.dumps(databases)}

    def arguments(self) -> list[str]:
        return [self.command, f"{self.seed}/{self.starts}"]

    def finish(self) -> None:
        """Let them end by themselves; who does not, is killed."""
        for member in self.members:
            member.send_signal(signal.SIGCONT)
            member.terminate()
        ends_at = time.monotonic() + 10
        for member in self.members:
            try:
                member.wait(max(0.0, ends_at - time.monotonic()))
            except subprocess.TimeoutExpired:
                member.send_signal(signal.SIGUSR1)  # tells where it hangs
        self.stop()
