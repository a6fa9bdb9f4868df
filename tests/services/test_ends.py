"""Servers never outlive the run that started them, and a service that is demanded but missing is an error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.services import keeper

ROOT = Path(__file__).resolve().parents[2]
SERVER = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


def eventually(condition: Callable[[], bool], *, patience: float = 10) -> bool:
    deadline = time.monotonic() + patience
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def keep(owner: int, folder: Path) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, keeper.__file__, str(owner), str(folder), "", str(int(signal.SIGTERM))]
    process = subprocess.Popen([*command, sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as output:
        return process, int(output.readline())


def run_suite(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("EVENTBUS_TEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/services/test_services.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=False, timeout=100
    )


def test_a_server_ends_when_its_owner_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    process, server = keep(owner.pid, folder)

    owner.kill()
    owner.wait()

    process.wait(10)
    assert eventually(lambda: not keeper.is_alive(server))
    assert not folder.exists()


def test_a_server_ends_when_its_keeper_is_told_to(tmp_path: Path) -> None:
    process, server = keep(os.getpid(), tmp_path)

    process.terminate()
    process.wait(10)

    assert eventually(lambda: not keeper.is_alive(server))


@pytest.mark.parametrize("required", ["kafka", "postgres"])
def test_a_demanded_service_that_is_missing_is_an_error(required: str, tmp_path: Path) -> None:
    nothing_here = {"PATH": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "JAVA_HOME": ""}
    hidden = {"DOCKER_HOST": "unix:///nowhere", "EVENTBUS_TEST_POSTGRES_BINARIES": str(tmp_path)}

    outcome = run_suite(EVENTBUS_TEST_REQUIRE=required, **nothing_here, **hidden)

    assert outcome.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"EVENTBUS_TEST_REQUIRE names {required}" in outcome.stderr


def test_missing_services_are_skipped_with_one_loud_line_each(tmp_path: Path) -> None:
    nothing_here = {"PATH": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "JAVA_HOME": ""}
    hidden = {"DOCKER_HOST": "unix:///nowhere", "EVENTBUS_TEST_POSTGRES_BINARIES": str(tmp_path)}

    outcome = run_suite(**nothing_here, **hidden)

    assert outcome.returncode == pytest.ExitCode.OK, outcome.stdout
    assert outcome.stdout.count("SKIPPED SERVICE postgres:") == 1
    assert outcome.stdout.count("SKIPPED SERVICE kafka:") == 1
    assert "2 passed, 2 skipped" in outcome.stdout
