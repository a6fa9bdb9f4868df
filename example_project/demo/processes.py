"""How does the demo run the shop's commands as processes of their own, and end every one of them?"""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 40  # seconds that a process gets to finish what is in flight: more than it takes for itself


class Processes:
    """Start `manage.py` commands with one environment and stop them in the reverse order."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = dict(env)
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, output: int | None = subprocess.PIPE) -> "subprocess.Popen[str]":
        """Start a command in a session of its own, so that Ctrl-C reaches the demo alone."""
        with uninterrupted():
            process = subprocess.Popen(
                [sys.executable, str(MANAGE), *arguments],
                env=self.env,
                stdout=output,
                text=True,
                start_new_session=True,
            )
            self.running.append(process)
        return process

    def run(self, *arguments: str) -> None:
        """Run a command to its end; raises CalledProcessError when it fails."""
        process = self.start(*arguments, output=None)
        code = process.wait()
        self.running.remove(process)
        if code:
            raise subprocess.CalledProcessError(code, arguments)

    def stop(self, process: "subprocess.Popen[str]") -> dict[str, object]:
        """End a command with SIGTERM and return the JSON object that it printed last."""
        process.send_signal(signal.SIGTERM)
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        self.running.remove(process)
        lines = [line for line in (output or "").splitlines() if line.startswith("{")]
        return json.loads(lines[-1]) if lines else {}

    def check(self) -> None:
        """Raise RuntimeError if a command ended by itself."""
        for process in self.running:
            if process.poll():
                raise RuntimeError(f"{' '.join(map(str, process.args[2:]))} ended with status {process.returncode}")

    def stop_all(self) -> None:
        """End everything; a second Ctrl-C would leave processes behind, so it is not listened to."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for process in reversed(list(self.running)):
            with suppress(subprocess.TimeoutExpired):  # it was killed; the others still wait for their turn
                self.stop(process)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put a Ctrl-C off to the end of the block: a process that is started but not yet listed would be left behind."""
    came: list[int] = []
    held = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_taken(port: int) -> bool:
    """Say whether somebody listens on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for_port(port: int, *, patience: float = PATIENCE) -> None:
    """Return once somebody listens on a loopback port; raises TimeoutError."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if is_taken(port):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens on 127.0.0.1:{port}")
