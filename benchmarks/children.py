"""How does the benchmark talk to a process of its own: one JSON object a line, there and back?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class ChildFailed(RuntimeError):
    """A process that is measured ended, or answered with an error."""


class Child:
    """Run one role (a module of benchmarks/roles) and ask it for one thing after the other."""

    def __init__(self, role: str, environment: Mapping[str, str]) -> None:
        self._role = role
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.roles.{role}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
        )

    def ask(self, verb: str, **values: Any) -> Any:
        """Send a question and wait for its answer."""
        self.send(verb, **values)
        return self.receive()

    def send(self, verb: str, **values: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"verb": verb, **values}) + "\n")
        self.process.stdin.flush()

    def receive(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise ChildFailed(f"the {self._role} ended with status {self.process.wait(10)}")
        answer = json.loads(line)
        if "error" in answer:
            raise ChildFailed(f"the {self._role} failed: {answer['error']}")
        return answer["answer"]

    def close(self) -> None:
        """Let it end: no more questions come."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        end(self.process)


class Command:
    """Run one of the product's own management commands until it ends or is told to."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str]) -> None:
        self._arguments = arguments
        self.process = subprocess.Popen(
            [sys.executable, "-m", "django", *arguments, "--settings", "benchmarks.settings"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
        )

    def require_alive(self) -> None:
        if self.process.poll() is not None:
            raise ChildFailed(f"{self._arguments[0]} ended with status {self.process.returncode}")

    def close(self) -> None:
        """Stop it as an operator does; it has to end cleanly."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        end(self.process)
        if self.process.returncode != 0:
            raise ChildFailed(f"{self._arguments[0]} ended with status {self.process.returncode}")


def end(process: subprocess.Popen[str]) -> None:
    """Wait until a process has ended; kill it if it does not."""
    try:
        process.wait(40)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def serve(verbs: Mapping[str, Callable[..., Any]]) -> None:
    """Answer questions from standard input until it is closed."""
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = {"answer": verbs[question.pop("verb")](**question)}
        # The boundary of a child: its parent prints the error and goes on with the next benchmark.
        except Exception as exc:  # noqa: BLE001
            answer = {"error": f"{type(exc).__name__}: {exc}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
