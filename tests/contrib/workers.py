"""Celery workers as processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 90.0


class Workers:
    """Start workers on a folder of tasks, and other processes beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "worker.log"
        self.log.write_bytes(b"")
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, environment: dict[str, str], *, pool: str = "solo") -> subprocess.Popen[bytes]:
        """Start a worker; it takes tasks once it is up."""
        options = ["-P", pool, "-c", "1", "-l", "INFO", "--without-mingle", "--without-gossip"]
        return self.run(environment, "celery", "-A", "tests.contrib.celery_app", "worker", *options)

    def run(self, environment: dict[str, str], *command: str) -> subprocess.Popen[bytes]:
        """Start `python -m COMMAND`."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=environment | {"TESTS_CELERY_FOLDER": str(self.folder)},
                stdout=log,
                stderr=log,
            )
        self._started.append(process)
        return process

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the processes do; tell what they logged where it does not happen."""
        ends_at = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < ends_at, self.log.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """End all of them."""
        living = [process for process in self._started if process.poll() is None]
        for process in living:
            process.send_signal(signal.SIGTERM)
        for process in living:
            process.wait(PATIENCE)
