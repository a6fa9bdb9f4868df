"""The example project runs as its users run it: the demo on nothing at all, and the shop on PostgreSQL and Kafka."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

MANAGE = Path(__file__).resolve().parents[2] / "example_project" / "manage.py"
PATIENCE = 120
ORDERS = 60


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the example project to its end."""
    return subprocess.run(
        [sys.executable, str(MANAGE), *arguments],
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def clean_environment() -> dict[str, str]:
    """Leave out what steers the suite: the example has settings of its own."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("EVENTBUS_") and name not in ("DJANGO_SETTINGS_MODULE", "DATABASE_URL")
    }


def number_after(label: str, output: str) -> int:
    (line,) = (line for line in output.splitlines() if line.strip().startswith(label))
    return int(line.split()[-1])


@pytest.mark.smoke
def test_the_demo_accounts_for_every_event() -> None:
    demo = manage("demo", "--orders", str(ORDERS), PAYMENT_TIMEOUT="10")  # patience with a busy machine

    assert demo.returncode == 0, demo.stderr
    published = 8 * (ORDERS - 1) + 9 + 4  # orders that are fulfilled, the one that is undone, cashiers
    assert number_after("events published", demo.stdout) == published + 10  # repeated on purpose
    assert number_after("records sent", demo.stdout) == published + 10
    assert number_after("handler runs that succeeded", demo.stdout) == published  # each event has one handler
    assert number_after("duplicates dropped", demo.stdout) == 10
    assert number_after("timeouts that came", demo.stdout) == 2
    assert number_after("fulfilled", demo.stdout) == ORDERS - 1
    assert number_after("undone", demo.stdout) == 1
    assert "replayed 1, refused 0" in demo.stdout
    assert number_after("dead letters", demo.stdout) == 0
    assert "dead letter: billing.issue_invoice: billing.models.TaxRate.DoesNotExist" in demo.stdout


def test_the_tests_of_the_example_project_pass() -> None:
    tested = manage("test", "fulfilment")

    assert tested.returncode == 0, tested.stderr
    assert "Ran 0 tests" not in tested.stderr


@pytest.mark.once
@pytest.mark.usefixtures("heeding_ctrl_c")
@pytest.mark.parametrize("moment", ["^starting manage.py", "completed [1-9]"])
def test_ctrl_c_ends_the_demo_and_everything_it_started(moment: str) -> None:
    mark = uuid.uuid4().hex
    demo = subprocess.Popen(
        [sys.executable, str(MANAGE), "demo", "--orders", "5000"],
        env=clean_environment() | {"DEMO_MARK": mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if re.search(moment, line):
            break
    assert len(marked(mark)) > 1

    os.killpg(demo.pid, signal.SIGINT)
    rest, _ = demo.communicate(timeout=PATIENCE)

    assert demo.returncode == 0, rest
    assert marked(mark) == []


@pytest.fixture
def heeding_ctrl_c() -> Iterator[None]:
    """Let children heed Ctrl-C also where the suite runs in the background of a shell, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def marked(mark: str) -> list[psutil.Process]:
    """Find the demo's processes, also one that it has started a moment ago and forgotten."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("DEMO_MARK") == mark:
                found.append(process)
    return found


@pytest.mark.smoke
@pytest.mark.services
def test_the_shop_runs_on_postgresql_and_kafka_by_environment_alone(
    postgres: str, kafka: str, new_database: Callable[[str], str]
) -> None:
    environment = {
        "DATABASE_URL": new_database(postgres),
        "EVENTBUS_TRANSPORT": "kafka",
        "EVENTBUS_OPTIONS_BOOTSTRAP_SERVERS": kafka,
        "EVENTBUS_DOMAIN": f"d{uuid.uuid4().hex[:10]}",
        "EVENTBUS_GROUP": f"g{uuid.uuid4().hex[:10]}",
        "PAYMENT_TIMEOUT": "10",
    }
    manage("migrate", "--verbosity", "0", **environment).check_returncode()
    running = [start(command, **environment) for command in ("drain_outbox", "consume_events", "demo_customers")]
    try:
        shop = totals_of(manage("demo_shop", "--orders", str(ORDERS), **environment))
    finally:
        relay, consumer, customers = running
        customers.kill()
        customers.communicate()
        sent, handled = ended(relay), ended(consumer)

    assert (shop["completed"], shop["compensated"], len(shop["dead_letters"])) == (ORDERS - 2, 1, 1)
    assert sent["sent"] == shop["published"] + 10
    assert (handled["handled"], handled["duplicates"]) == (shop["published"] - 1, 10)  # one is a dead letter
    assert handled["local"] == shop["timeouts"] == 2


def start(command: str, **environment: str) -> subprocess.Popen[str]:
    """Run a command of the example project until it is ended."""
    options = [] if command == "demo_customers" else ["--json", "--verbosity", "0"]
    return subprocess.Popen(
        [sys.executable, str(MANAGE), command, *options],
        env=clean_environment() | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    process.terminate()
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return dict(json.loads(output.splitlines()[-1]))


def totals_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))
