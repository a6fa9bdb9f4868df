"""Keep one server running for as long as its owner lives: a killed test run leaves no server behind.

Run as a script: ``keeper.py OWNER_PID FOLDER USER SIGNAL COMMAND...``. It imports nothing of ours, to start at once.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

CHECK_INTERVAL = 0.5


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def keep(owner: int, folder: Path, *, user: str | None, stop_signal: int, command: list[str]) -> int:
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=folder, **identity(user))
    while server.poll() is None and is_alive(owner) and not stopping.wait(CHECK_INTERVAL):
        pass
    if server.poll() is None:
        server.send_signal(stop_signal)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
    if not is_alive(owner):
        shutil.rmtree(folder, ignore_errors=True)
    code: int = server.wait()
    return code


def identity(user: str | None) -> dict[str, Any]:
    if not user:
        return {}
    import pwd

    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


if __name__ == "__main__":
    owner, folder, user, stop_signal, *command = sys.argv[1:]
    sys.exit(keep(int(owner), Path(folder), user=user or None, stop_signal=int(stop_signal), command=command))
