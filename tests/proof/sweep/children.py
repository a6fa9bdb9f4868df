"""How is something run in a process of its own, at the price of a fork?"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PATIENCE = 180.0  # seconds after which a child hangs


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Say how a child ended, and what it had to say."""

    status: int  # exit code; negative: the signal that killed it
    said: Any = None
    hung: bool = False

    @property
    def was_killed(self) -> bool:
        return self.status == -signal.SIGKILL and not self.hung


def in_child(work: Callable[[int], Any]) -> Ended:
    """Fork, run, and return what the child said; `work` gets the descriptor of the pipe.

    The parent has neither threads nor connections, so a fork of it is as good as a new process.
    """
    ear, mouth = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(ear)
        _be_child(work, mouth)
    os.close(mouth)
    try:
        said, is_whole = _listen(ear, until=time.monotonic() + PATIENCE)
    finally:
        os.close(ear)
    if not is_whole:
        os.kill(pid, signal.SIGABRT)
        time.sleep(0.5)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return Ended(status=os.waitstatus_to_exitcode(status), said=json.loads(said) if said else None, hung=not is_whole)


def _be_child(work: Callable[[int], Any], mouth: int) -> None:
    try:
        import faulthandler

        faulthandler.enable()
        said = work(mouth)
        if said is not None:
            os.write(mouth, json.dumps(said).encode())
        status = 0
    # Whatever it is, this process must not go on as a second parent.
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        status = 1
    finally:
        sys.stderr.flush()
        os._exit(locals().get("status", 1))


def _listen(ear: int, *, until: float) -> tuple[bytes, bool]:
    said = b""
    while (left := until - time.monotonic()) > 0:
        readable, _, _ = select.select([ear], [], [], left)
        if readable:
            part = os.read(ear, 1 << 16)
            if not part:
                return said, True
            said += part
    return said, False
