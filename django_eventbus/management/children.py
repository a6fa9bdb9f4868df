"""How does one command do its work in several processes, and what follows when one of them dies?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

FINAL = {0, 2, 3}  # exit codes that a child means: done, wrong usage, condition not reached
MOST_CRASHES = 5
HEALTHY_AFTER = 30.0  # seconds without a crash after which earlier ones are forgotten
LONGEST_PAUSE = 2.0
LOOK_INTERVAL = 0.1


class KeepsCrashing(Exception):
    """A child has crashed so often that starting it again is pointless."""


@dataclass(kw_only=True)
class Child:
    """Be one place in the work, and the process that fills it now."""

    arguments: Sequence[str]  # of the management command, its name first
    process: subprocess.Popen[str] | None = None
    code: int | None = None  # set when it has ended for good
    output: str = ""
    crashes: int = 0
    started_at: float = 0.0
    due_at: float = 0.0

    def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "django", *self.arguments],
            stdin=subprocess.PIPE,  # its end tells a child that this process is gone
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            start_new_session=True,  # Ctrl-C reaches this process only, which tells each child once
        )

    def look(self) -> None:
        """Notice an end, or begin again when it is time."""
        if self.process is None:
            if time.monotonic() >= self.due_at:
                self.start()
            return
        code = self.process.poll()
        if code is None:
            return
        if code in FINAL:
            self.finish(code)
        else:
            self.process.communicate()
            self.process = None
            self.note_crash(code)

    def finish(self, code: int) -> None:
        if self.process is not None:
            self.output = self.process.communicate()[0]
        self.code = code

    def note_crash(self, code: int) -> None:
        now = time.monotonic()
        self.crashes = 1 if now - self.started_at > HEALTHY_AFTER else self.crashes + 1
        if self.crashes >= MOST_CRASHES:
            self.code = 1
            raise KeepsCrashing(f"{' '.join(self.arguments)} ended {self.crashes} times, the last time with {code}.")
        self.due_at = now + min(LONGEST_PAUSE, 0.1 * 2**self.crashes)


def run_children(commands: Sequence[Sequence[str]], stop: threading.Event) -> list[Child]:
    """Keep one process running for each command until all have ended for good, or `stop` is set.

    A crashed one is started again; raises KeepsCrashing where that does not help, after the others have stopped.
    """
    children = [Child(arguments=arguments) for arguments in commands]
    try:
        while not stop.is_set() and any(child.code is None for child in children):
            for child in children:
                if child.code is None:
                    child.look()
            stop.wait(LOOK_INTERVAL)
    finally:
        running = [child for child in children if child.code is None and child.process is not None]
        for child in running:
            assert child.process is not None
            child.process.send_signal(signal.SIGTERM)  # all at once, so that they finish side by side
        for child in running:
            assert child.process is not None
            code = child.process.wait()
            is_unready = code == -signal.SIGTERM  # it was still starting, and had begun nothing
            child.finish(0 if is_unready else code if code >= 0 else 1)
    return children


def stop_when_orphaned(stop: threading.Event) -> None:
    """Set `stop` when the process that started this child is gone; called by the child."""

    def wait_for_end() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait_for_end, name="eventbus-parent", daemon=True).start()
