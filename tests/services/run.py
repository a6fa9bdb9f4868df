"""What the processes of one test run share: a folder, a lock, and the address of each service that was started."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER_VARIABLE = "EVENTBUS_TEST_RUN_FOLDER"
OWNER_VARIABLE = "EVENTBUS_TEST_RUN_OWNER"


class ServiceMissing(LookupError):
    """No source offers this service here; the message names each source that was tried."""


def begin() -> bool:
    """Make the run's folder; false when an outer pytest process (an xdist controller, a parent run) has made it."""
    if FOLDER_VARIABLE in os.environ:
        return False
    folder = tempfile.mkdtemp(prefix="eventbus-tests-")
    os.chmod(folder, 0o755)  # PostgreSQL runs as another user and must reach its data below
    os.environ[FOLDER_VARIABLE] = folder
    os.environ[OWNER_VARIABLE] = str(os.getpid())
    return True


def end() -> None:
    shutil.rmtree(os.environ.pop(FOLDER_VARIABLE), ignore_errors=True)
    os.environ.pop(OWNER_VARIABLE, None)


def folder() -> Path:
    return Path(os.environ[FOLDER_VARIABLE])


def owner_pid() -> int:
    return int(os.environ[OWNER_VARIABLE])


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def may_come_from(service: str, source: str) -> bool:
    """Say whether the environment leaves this source open (EVENTBUS_TEST_POSTGRES_SOURCE=wheel closes all others)."""
    return os.environ.get(f"EVENTBUS_TEST_{service.upper()}_SOURCE") in (None, "", source)


def shared_address(name: str, start: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Return what ``start`` returned in the first process of this run that asked; a failure is shared as well."""
    state = folder() / f"{name}.json"
    outcome: dict[str, str]
    with locked(folder() / f"{name}.lock"):
        if not state.exists():
            try:
                outcome = start()
            except Exception as exc:
                outcome = {"error": str(exc)}
                state.write_text(json.dumps(outcome))
                raise
            state.write_text(json.dumps(outcome))
        outcome = json.loads(state.read_text())
    if "error" in outcome:
        raise RuntimeError(f"{name} did not start in another process of this run: {outcome['error']}")
    return outcome


def started(name: str) -> dict[str, str] | None:
    state = folder() / f"{name}.json"
    if not state.exists():
        return None
    service: dict[str, str] = json.loads(state.read_text())
    return service
