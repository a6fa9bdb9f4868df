"""What does a fault act upon, and what can be said about the moment at which it struck?"""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from tests.proof.load.crews import Crew, Member
from tests.proof.load.database import LoadServer
from tests.proof.load.running import Load
from tests.proof.load.sessions import ports_of
from tests.services.kafka import KafkaBroker

LOOK = 0.1
PATIENCE = 60.0
OF_THE_LOAD = "datname = current_database() AND application_name NOT IN ('observer', 'other')"
END_SESSIONS = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {OF_THE_LOAD}"
HOLDERS = f"""
SELECT a.client_port FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND {OF_THE_LOAD} GROUP BY 1
"""


class From(Enum):
    """Say from when the seconds of a recovery are counted."""

    END = "end"  # of the fault
    BEGIN = "begin"  # of a fault that others have to get round while it lasts


@dataclass(kw_only=True)
class Scene:
    """A load that runs, and the servers below it, where they are its own."""

    load: Load
    random: random.Random
    server: LoadServer | None = None
    broker: KafkaBroker | None = None
    equipment: dict[str, Any] = field(default_factory=dict)  # what a fault has prepared before the load began
    pace: float = 1.0  # how long everything lasts, as a share of the long form
    last_blow: float = 0.0  # when something was last harmed: what was handled before says nothing of a recovery

    @property
    def postgres(self) -> LoadServer:
        assert self.server is not None, "this fault needs a database server of its own"
        return self.server

    @property
    def kafka(self) -> KafkaBroker:
        assert self.broker is not None, "this fault needs a broker of its own"
        return self.broker

    def hold(self, seconds: float) -> None:
        """Let the fault last."""
        time.sleep(self.pace * seconds)

    def wait(self, is_so: Callable[[], bool], *, patience: float = PATIENCE) -> bool:
        ends_at = time.monotonic() + patience
        while not is_so():
            if time.monotonic() > ends_at:
                return False
            time.sleep(LOOK)
        return True

    def kill(self, crew: Crew, member: Member) -> None:
        crew.kill(member)
        self.last_blow = time.monotonic()

    def end_sessions(self) -> None:
        """End all database sessions of the load."""
        self.load.database.fetch(END_SESSIONS)
        self.last_blow = time.monotonic()

    def active_relay(self) -> Member:
        """Return the relay that holds the locks of the shards."""
        found: list[Member] = []

        def is_held() -> bool:
            holders = {port for (port,) in self.load.database.fetch(HOLDERS)}
            found[:] = [member for member in self.load.relays.members if ports_of(member.pid) & holders]
            return bool(found)

        assert self.wait(is_held), "no relay holds the locks of the shards"
        return found[0]

    def freeze(self, member: Member) -> None:
        member.process.send_signal(signal.SIGSTOP)

    def thaw(self, member: Member) -> None:
        member.process.send_signal(signal.SIGCONT)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong; `strike` returns when it is over."""

    name: str
    what: str  # for the table of results
    strike: Callable[[Scene], None]
    counts_from: From = From.END
    limit: float = 10.0  # seconds within which the rate has to be back
    needs_servers: bool = True  # of its own; False: it only harms processes and sessions
    why_not: Callable[[], str] = lambda: ""  # what this machine lacks for it; empty: nothing
    equip: Callable[[Equipment], None] = lambda equipment: None


@dataclass(kw_only=True)
class Equipment:
    """What a fault prepares before the servers and the load start."""

    server: LoadServer
    folder: Path  # that every user can reach
    extra: dict[str, dict[str, str]] = field(default_factory=dict)  # environment of one crew, by its name
    tools: dict[str, Any] = field(default_factory=dict)  # becomes the scene's equipment
    tablespace: Path | None = None
    undo: list[Callable[[], object]] = field(default_factory=list)


def say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()
