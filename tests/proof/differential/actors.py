"""What do the processes of a trace do, each in a fork of its own?"""

from __future__ import annotations

import faulthandler
import json
import os
import select
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PATIENCE = 15.0  # seconds until a step that was not done counts as impossible


class Disagreement(AssertionError):
    """Model and code do not do the same."""


@dataclass(slots=True)
class Actor:
    """One process that does what it is told."""

    pid: int
    ear: int
    mouth: int

    @classmethod
    def start(cls, part: Callable[[], None]) -> Actor:
        """Fork a process that plays a part; this one has neither threads nor connections that it uses."""
        from_us, to_child = os.pipe()
        from_child, to_us = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(to_child)
            os.close(from_child)
            _play(part, ear=from_us, mouth=to_us)
        os.close(from_us)
        os.close(to_us)
        return cls(pid, from_child, to_child)

    def do(self, step: str, told: str = "") -> str:
        """Let the process do one step, and wait until it is done; return what it says."""
        os.write(self.mouth, (json.dumps([step, told]) + "\n").encode())
        readable, _, _ = select.select([self.ear], [], [], PATIENCE)
        if not readable:
            os.kill(self.pid, signal.SIGUSR1)  # it tells where its threads are
            time.sleep(0.5)
            raise Disagreement(f"{step} {told}: not done within {PATIENCE} s")
        line = os.read(self.ear, 1 << 16)
        if not line:
            raise Disagreement(f"{step} {told}: the process has ended")
        done, answer = json.loads(line)
        if done != step:
            raise Disagreement(f"{step} {told}: did {done} instead")
        return str(answer)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.ear)
        os.close(self.mouth)


def _play(part: Callable[[], None], *, ear: int, mouth: int) -> None:
    from tests.proof.differential.gates import gates

    faulthandler.register(signal.SIGUSR1, all_threads=True)
    try:
        gates.open(ear=ear, mouth=mouth)
        part()
    # Whatever it is, this process must not go on as a second director.
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        os._exit(1)


def relay() -> None:
    from django_eventbus.bus import buses
    from tests.proof.differential.gated import gate_relay

    gate_relay()
    buses["default"].open_relay().run(threading.Event())


def consumer() -> None:
    from django_eventbus.bus import buses
    from tests.proof.differential.gated import gate_worker

    gate_worker()
    bus = buses["default"]
    (group,) = bus.groups.values()
    bus.open_worker(group).run(threading.Event())


def writer(number: int, key: str) -> Callable[[], None]:
    def part() -> None:
        from django.db import transaction

        from django_eventbus.bus import publish
        from tests.proof.differential.gates import gates
        from tests.proof.differential.handlers import Stepped

        gates.wait("publish")
        with transaction.atomic():
            publish(Stepped(key=key, number=number))
            gates.done()
            if gates.wait("commit", "roll_back") == "roll_back":
                transaction.set_rollback(True)
        gates.done()
        gates.wait("end")

    return part


def once(work: Callable[[], Any]) -> None:
    """Do something in a process of its own."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError("a preparation failed")
