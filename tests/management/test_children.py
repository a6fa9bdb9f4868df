from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from django_eventbus.management import children
from django_eventbus.management.children import KeepsCrashing, run_children
from django_eventbus.management.stopping import stop_on_signals

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.settings")


def test_a_child_that_crashes_again_and_again_ends_the_work() -> None:
    began = time.monotonic()

    with pytest.raises(KeepsCrashing, match="no_such_command ended 5 times"):
        run_children([["no_such_command"]], threading.Event())

    assert time.monotonic() - began > 0.1 * (2 + 4 + 8)


def test_a_child_that_means_its_exit_code_is_not_started_again() -> None:
    ended = run_children([["drain_outbox", "--timeout", "1"]], threading.Event())

    assert [child.code for child in ended] == [2]
    assert ended[0].crashes == 0


def test_children_stop_together_when_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    monkeypatch.setattr(children, "LOOK_INTERVAL", 0.05)
    threading.Timer(1.0, stop.set).start()

    ended = run_children([["eventbus_broker", "--port", "0"]] * 2, stop)

    assert all(child.code is not None for child in ended)


def test_one_signal_asks_to_stop_and_the_old_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)

    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(1)

    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_signal_within_a_second_is_the_same_one_and_a_later_one_aborts() -> None:
    code = (
        "import time\n"
        "from django_eventbus.management.stopping import stop_on_signals\n"
        "with stop_on_signals():\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(30)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    process.stdout.readline()

    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.1)
    process.send_signal(signal.SIGTERM)

    assert process.wait(5) == -signal.SIGTERM
    process.stdout.close()
