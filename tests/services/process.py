"""How a server process is started under its keeper, waited for, stopped and frozen."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.services import keeper
from tests.services.run import owner_pid

SHARED: list[subprocess.Popen[bytes]] = []  # keepers of servers that outlive the code that started them


class ServiceFailed(RuntimeError):
    """A service that should have started did not; the message ends with the tail of its log."""


@dataclass(kw_only=True)
class ServerProcess:
    folder: Path  # its own scratch folder, also its working directory
    log: Path  # what it prints
    stop_signal: signal.Signals
    user: str = ""  # another user to run as; empty: this one
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self, command: list[str], *, is_ready: Callable[[], bool], patience: float = 60) -> None:
        arguments = [str(owner_pid()), str(self.folder), self.user, str(int(self.stop_signal)), *command]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, keeper.__file__, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C ends the tests first, then the tests end the servers
            )
        deadline = time.monotonic() + patience
        while not is_ready():
            if self.process.poll() is not None:
                raise ServiceFailed(f"{command[0]} ended at once:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise ServiceFailed(f"{command[0]} was not ready within {patience:.0f} s:\n{self.tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the server as its stop signal says and wait until it is gone."""
        if self.process is None:
            return
        self.process.terminate()
        self.process.wait(30)
        self.process = None

    def leave_running(self) -> int:
        """Hand the server to the end of the run; return the pid of its keeper, which ends it on SIGTERM."""
        assert self.process is not None
        SHARED.append(self.process)
        return self.process.pid

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
    except OSError:
        return False
    return True


def unprivileged_user() -> str:
    """Name the user that servers which refuse root run as; empty when this process is not root."""
    if os.geteuid() != 0:
        return ""
    import pwd

    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)
