"""On which stage is a planted bug brought to light? Real services and processes, one at a time, as a scenario says."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.history.members import ROOT, is_frozen
from tests.history.path.crews import Consumers, Relays
from tests.history.path.evidence import gather, read_topics
from tests.history.path.judging import Verdict, judge
from tests.history.path.tables import ECHOES, HANDLERS, STEPS

PATIENCE = 60.0  # seconds; a busy machine starts processes slowly
SKIPPED = 6.0  # seconds after which a message is skipped where a relay is at work


@dataclass(kw_only=True)
class Scene:
    """A database, two topics, a writer that does as it is told, and members that come and go."""

    path: Consumers
    relays: Relays = field(init=False)
    writer: subprocess.Popen[str] = field(init=False)
    said: list[str] = field(default_factory=list)

    def __enter__(self) -> Scene:
        self.path.prepare()
        self.relays = Relays(path=self.path)
        self.writer = subprocess.Popen(
            [sys.executable, "-m", "tests.history.path.scripted"],
            env=self.path.environment(),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.path.stop()
        self.relays.stop()
        self.writer.kill()
        self.writer.communicate()

    @property
    def has_bug(self) -> bool:
        return bool(self.path.bug)

    def tell(self, order: str) -> None:
        """Give the writer an order, and do not wait."""
        assert self.writer.stdin is not None
        self.writer.stdin.write(f"{order}\n")
        self.writer.stdin.flush()

    def write(self, *orders: str) -> None:
        """Give the writer orders of one session, and wait until they are carried out."""
        for order in orders:
            self.tell(order)
        for order in orders:
            self.hear(order.split()[0])

    def hear(self, name: str) -> None:
        """Wait for an answer of one session."""
        assert self.writer.stdout is not None
        while name not in self.said:
            line = self.writer.stdout.readline()
            assert line, "the writer has ended"
            self.said.append(line.strip())
        self.said.remove(name)

    def start_consumer(self, **chaos: str) -> subprocess.Popen[bytes]:
        """Start a consumer with the variables of tests/history/chaos.py."""
        self.path.chaos = chaos
        member = self.path.start()
        self.path.chaos = {}
        return member

    def freeze_awaited(self, member: subprocess.Popen[bytes]) -> None:
        """Wait until somebody has frozen himself."""
        self.wait(lambda: is_frozen(member.pid), "nobody froze")

    def let_end(self, member: subprocess.Popen[bytes]) -> None:
        """Let somebody frozen end what he is at, and go."""
        member.terminate()
        member.send_signal(signal.SIGCONT)
        member.wait(PATIENCE)

    def wait_until_sent(self) -> None:
        """Wait until the newest message is no longer in the outbox; older ones may be.

        With a bug it may stay there, until a relay reads everything again; then what is missing shows in the end.
        """
        newest = self.path.count("SELECT last_value FROM eventbus_outbox_id_seq")
        query = f"SELECT count(*) FROM eventbus_outbox WHERE id = {newest}"
        with suppress(TimeoutError) if self.has_bug else nullcontext():
            patience = SKIPPED if self.has_bug else PATIENCE
            self.wait(lambda: not self.path.count(query), "the newest message was not sent", patience=patience)

    def wait_until_handled(self, *keys: int) -> None:
        """Wait until the last step of each of these keys is handled: so all before it are, or never will be."""
        query = f"""
            SELECT count(*) FROM path_counter AS c JOIN path_effect AS e ON e.key = c.key AND e.number = c.value
            WHERE c.key = ANY('{{{",".join(map(str, keys))}}}') AND e.handler IN (1, 2)
        """
        self.wait(lambda: self.path.count(query) >= 2 * len(keys), "the last steps were not handled")
        self.wait(lambda: not self.path.count("SELECT count(*) FROM eventbus_retry"), "somebody still waits")

    def wait(self, condition: Callable[[], object], complaint: str, *, patience: float = PATIENCE) -> None:
        ends_at = time.monotonic() + patience
        while not condition():
            if time.monotonic() > ends_at:
                raise TimeoutError(complaint)
            time.sleep(0.05)

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.path.url, autocommit=True)

    def verdict(self, *, of_handlers: bool = True) -> Verdict:
        """Judge; without handlers only what the relays did."""
        topics = {STEPS: f"{self.path.topic}.steps", ECHOES: f"{self.path.topic}.echoes"}
        with self.connect() as session:
            handlers = HANDLERS if of_handlers else {}
            records = read_topics(self.path.broker, topics)
            gather(session, folder=self.path.notes, records=records, handlers=handlers)
            return judge(session)
