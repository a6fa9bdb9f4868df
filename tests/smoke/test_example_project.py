"""The example project runs as its users run it: the demo on nothing at all, and the shop on PostgreSQL and Kafka."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

MANAGE = Path(__file__).resolve().parents[2] / "example_project" / "manage.py"
PATIENCE = 120
ORDERS = 90


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
    demo = manage("demo", "--orders", str(ORDERS))

    assert demo.returncode == 0, demo.stderr
    published = ORDERS + (ORDERS - 1) + 10  # orders, invoices but for one, repeated on purpose
    assert number_after("events published", demo.stdout) == published
    assert number_after("records sent", demo.stdout) == published
    assert number_after("handler runs that succeeded", demo.stdout) == 3 * ORDERS - 2
    assert number_after("duplicates dropped", demo.stdout) == 20  # ten events, two handlers each
    assert number_after("dead letters", demo.stdout) == 1
    assert "TaxRate.DoesNotExist" in demo.stdout


@pytest.mark.parametrize("moment", ["starting manage.py", "orders 50"])
def test_ctrl_c_ends_the_demo_and_everything_it_started(moment: str) -> None:
    demo = subprocess.Popen(
        [sys.executable, str(MANAGE), "demo", "--orders", "5000"],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.startswith(moment):
            break
    started = psutil.Process(demo.pid).children(recursive=True)

    os.killpg(demo.pid, signal.SIGINT)
    rest, _ = demo.communicate(timeout=PATIENCE)

    assert demo.returncode == 0, rest
    assert started
    assert not [process for process in started if process.is_running()]


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
    }
    place = "from orders.services import place_order; from billing.models import TaxRate; "
    place += "TaxRate.objects.create(country='Chile', percent=19); "
    place += "[place_order(customer=f'c{n}', country='Chile', total=n) for n in range(20)]"

    manage("migrate", "--verbosity", "0", **environment).check_returncode()
    manage("shell", "--command", place, **environment).check_returncode()
    sent = totals("drain_outbox", "--until-empty", "--timeout", "60", **environment)
    handled = totals("consume_events", "--until-caught-up", "--timeout", "60", **environment)
    sent_again = totals("drain_outbox", "--until-empty", "--timeout", "60", **environment)
    handled_again = totals("consume_events", "--until-caught-up", "--timeout", "60", **environment)

    assert (sent["sent"], sent_again["sent"]) == (20, 20)
    assert (handled["handled"], handled_again["handled"]) == (40, 20)


def totals(*arguments: str, **environment: str) -> dict[str, Any]:
    done = manage(*arguments, "--json", **environment)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))
