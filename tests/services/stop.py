"""How the services of a run end, whichever of its processes started them."""

from __future__ import annotations

import os
import signal
import time

from tests.services import containers, keeper, process, run


def stop_services() -> None:
    for name in ("kafka", "postgres"):
        service = run.started(name) or {}
        if "keeper" in service:
            stop_keeper(int(service["keeper"]))
        if "container" in service:
            containers.remove(service["container"])


def stop_keeper(pid: int) -> None:
    for ours in process.SHARED:
        if ours.pid == pid:
            ours.terminate()
            ours.wait(30)
            return
    deadline = time.monotonic() + 20
    while keeper.is_alive(pid) and time.monotonic() < deadline:
        os.kill(pid, signal.SIGTERM)
        time.sleep(0.1)
