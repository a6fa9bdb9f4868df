from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from django_eventbus.bus import buses
from django_eventbus.conf import LOCAL_TRANSPORT
from django_eventbus.exceptions import ConfigurationError
from django_eventbus.models import PartitionEpoch
from django_eventbus.transports.base import ConsumerOptions, FailureKind
from django_eventbus.transports.local import LocalSender, record_of

Run = Callable[[str], dict[str, Any]]

# Python warns of forks beside threads, and psycopg of the connections that such a thread had in the parent.
ABOUT_FORKS = (
    "-W",
    "ignore:This process:DeprecationWarning",
    "-W",
    "ignore:<psycopg.Connection object:ResourceWarning",
)


@pytest.fixture
def run(child_environment: Callable[..., dict[str, str]]) -> Run:
    """Run a part of the project in a process of its own, with the settings that nobody made."""

    def run(part: str) -> dict[str, Any]:
        done = subprocess.run(
            [
                sys.executable,
                *(ABOUT_FORKS if "child" in part else ()),
                "-m",
                "tests.bus.local_project",
                part,
            ],
            env=child_environment({}),
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return run


def test_a_relay_that_stops_leaves_the_partition_of_its_handlers_clean(run: Run) -> None:
    run("in_one_process")

    # An unclean end would make the next process begin carefully: one message at a time.
    assert list(PartitionEpoch.objects.values_list("is_clean", flat=True)) == [True]


def test_handlers_run_after_the_commit_in_a_thread_that_ends_with_the_process(run: Run) -> None:
    found = run("in_one_process")

    assert found["effects"] == [["answer", n] for n in range(5)] + [["note", n] for n in range(5)]
    assert found["threads"] == ["eventbus-relay-default"]


def test_forked_child_works_too(run: Run) -> None:
    found = run("in_a_forked_child")

    assert found["effects"] == [["answer", 0], ["answer", 1], ["note", 0], ["note", 1]]


def test_forked_child_takes_over_at_once_where_its_parent_was_killed(run: Run) -> None:
    began = time.monotonic()

    found = run("in_a_child_whose_parent_was_killed")

    assert found["effects"] == [["answer", 0], ["answer", 1], ["note", 0], ["note", 1]]
    assert time.monotonic() - began < 20  # the locks of the dead are not held by what their children inherited


def test_migrate_starts_no_handlers(run: Run) -> None:
    found = run("during_migrate")

    assert (found["effects"], found["waiting"], found["threads"]) == ([], 1, [])


def test_sender_acknowledges_what_was_delivered() -> None:
    rows = [(n, "topic", b"k", "ce_id\x1f1", b"{}") for n in (3, 5, 9)]
    seen = []

    def deliver(records: Any, deadline: float) -> int:
        seen.extend(records)
        return 2

    result = LocalSender(deliver).send(rows, deadline=1.0)

    assert result.acked == [3, 5]
    assert {n: failure.kind for n, failure in result.failures.items()} == {9: FailureKind.NOT_SENT}
    assert seen[0]._replace(received_at=None) == record_of(rows[0])
    assert (seen[0].partition, seen[0].offset, seen[0].headers) == (0, 3, [("ce_id", b"1")])


def test_nothing_is_there_to_consume() -> None:
    transport = buses["default"].transport

    assert buses["default"].config.transport == LOCAL_TRANSPORT
    assert not transport.capabilities.consumable
    with pytest.raises(ConfigurationError, match="nothing to consume"):
        transport.open_consumer(ConsumerOptions(group="g", client_id="c"))
    with pytest.raises(ConfigurationError, match=r"open_relay\(\)"):
        transport.open_sender(client_id="c")
