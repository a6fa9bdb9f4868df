"""The command as it is run: processes of their own, which are stopped, killed, frozen and replaced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections

from django_eventbus.models import OutboxMessage
from tests.outbox.file_transport import Line, read_lines
from tests.outbox.relaying import append, eventually, new_message

pytestmark = pytest.mark.django_db(transaction=True)

GRACE = 2.0
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "sent"


@pytest.fixture
def start(child_environment: Callable[..., dict[str, str]], log: Path) -> Iterator[Start]:
    """Start `drain_outbox` with some arguments; whatever still runs is killed afterwards."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, environment: dict[str, str] | None = None, **outbox: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "django", "drain_outbox", *arguments],
            env=child_environment(eventbus_settings(log, **outbox)) | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        for number in (signal.SIGCONT, signal.SIGKILL):
            if process.poll() is None:
                os.killpg(process.pid, number)
        process.communicate()


def eventbus_settings(log: Path, *, delay: float = 0.0, **outbox: Any) -> dict[str, Any]:
    section = {"GRACE": GRACE, "SEND_DEADLINE": 0.5, **outbox}
    options = {"path": str(log), "delay": delay}
    transport = "tests.outbox.file_transport.FileTransport"
    return {"default": {"TRANSPORT": transport, "OPTIONS": options, "OUTBOX": section}}


def senders(log: Path) -> list[int]:
    return list(dict.fromkeys(line.pid for line in read_lines(log)))


def payloads(log: Path) -> list[str]:
    return [line.payload for line in read_lines(log)]


def first_of_each(lines: Sequence[Line]) -> dict[str, list[str]]:
    """Return what each key got, without repetitions: a row that is sent again is no new one."""
    found: dict[str, dict[str, None]] = {}
    for line in lines:
        found.setdefault(line.key, {})[line.payload] = None
    return {key: list(values) for key, values in found.items()}


def wait_until_active(log: Path, name: str) -> None:
    append(name)
    eventually(lambda: name in payloads(log), within=60)


def test_until_empty_sends_everything_and_says_so_in_json(start: Start, log: Path) -> None:
    append("1", "2", "3")

    output, _ = start("--until-empty", "--json").communicate(timeout=30)

    report = json.loads(output)
    assert {name: report[name] for name in ("bus", "sent", "dead_lettered", "parked", "is_empty")} == {
        "bus": "default", "sent": 3, "dead_lettered": 0, "parked": 0, "is_empty": True,
    }  # fmt: skip
    assert payloads(log) == ["1", "2", "3"]


def test_until_empty_with_nothing_to_do_ends_at_once_with_zero(start: Start) -> None:
    process = start("--until-empty")

    output, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert output == "sent 0, refused 0, parked 0; the outbox is empty\n"


def test_until_empty_exits_with_3_when_the_time_is_over_first(start: Start) -> None:
    OutboxMessage.objects.append([new_message(str(number)) for number in range(100)])

    process = start("--until-empty", "--timeout", "1", "--json", delay=0.3, BATCH_SIZE=5)

    output, _ = process.communicate(timeout=30)
    assert process.returncode == 3
    assert not json.loads(output)["is_empty"]
    assert OutboxMessage.objects.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_it_finish_what_is_in_flight_and_exit_with_0(start: Start, log: Path, number: int) -> None:
    process = start(delay=0.4)
    append("1", "2")
    eventually(lambda: payloads(log) == ["1", "2"], within=60)

    os.kill(process.pid, number)
    process.communicate(timeout=10)

    assert process.returncode == 0
    assert not OutboxMessage.objects.exists()


def test_a_second_signal_a_second_later_aborts(start: Start, log: Path) -> None:
    process = start(delay=30, GRACE=100, SEND_DEADLINE=50)
    append("1")
    eventually(lambda: payloads(log) == ["1"], within=60)

    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.2)
    process.send_signal(signal.SIGTERM)
    process.wait(5)

    assert process.returncode == -signal.SIGTERM
    assert OutboxMessage.objects.count() == 1


def test_several_relays_of_one_command_share_the_work_and_end_together(start: Start, log: Path) -> None:
    OutboxMessage.objects.append([new_message(str(number), key=f"key{number}") for number in range(200)])

    process = start("--relays", "2", "--until-empty", "--json")

    output, _ = process.communicate(timeout=40)
    assert process.returncode == 0
    assert json.loads(output)["sent"] == 200
    assert sorted(map(int, payloads(log))) == list(range(200))
    if connection.vendor == "postgresql":
        assert len(senders(log)) == 2


def test_the_number_of_relays_comes_from_the_settings(start: Start, log: Path) -> None:
    OutboxMessage.objects.append([new_message(str(number), key=f"key{number}") for number in range(50)])

    process = start("--until-empty", RELAYS=2)
    process.communicate(timeout=40)

    assert process.pid not in senders(log)


def test_relays_end_when_the_process_that_started_them_is_killed(start: Start, log: Path) -> None:
    process = start("--relays", "2")
    wait_until_active(log, "1")
    child = senders(log)[0]

    os.kill(process.pid, signal.SIGKILL)

    eventually(lambda: not is_running(child))


def test_a_killed_child_is_replaced(start: Start, log: Path) -> None:
    process = start("--relays", "2")
    wait_until_active(log, "1")
    child = senders(log)[0]

    os.kill(child, signal.SIGKILL)

    wait_until_active(log, "2")
    assert senders(log)[-1] != child
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_wrong_usage_exits_with_2(settings: Any) -> None:
    settings.EVENTBUS = {"default": {}}
    for arguments, says in [
        (["--bus", "nobody"], "nobody"),
        (["--timeout", "3"], "--until-empty"),
    ]:
        with pytest.raises(CommandError, match=says) as caught:
            call_command("drain_outbox", *arguments)
        assert caught.value.returncode == 2


@pytest.mark.parametrize("arguments", [["--relays", "0"], ["--relays", "65"], ["--until-empty", "--timeout", "x"]])
def test_impossible_numbers_are_refused(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("drain_outbox", *arguments)


def test_a_killed_relay_is_replaced_within_two_seconds(start: Start, log: Path) -> None:
    first = start()
    wait_until_active(log, "1")
    second = start()
    wait_for_standby(second, log)

    first.kill()
    began = time.monotonic()
    append("2")
    eventually(lambda: "2" in payloads(log))

    assert time.monotonic() - began < 2.0
    assert senders(log)[-1] == second.pid


@pytest.mark.postgres_only
def test_a_frozen_relay_is_replaced_within_grace_and_two_seconds_and_does_nothing_when_it_wakes(
    start: Start, log: Path
) -> None:
    first = start()
    wait_until_active(log, "1")
    second = start()
    wait_for_standby(second, log)

    first.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    append("2")
    eventually(lambda: "2" in payloads(log))
    took = time.monotonic() - began
    first.send_signal(signal.SIGCONT)
    append("3")
    eventually(lambda: "3" in payloads(log))

    assert took < GRACE + 2.0
    assert [line.payload for line in read_lines(log) if line.pid == second.pid][-2:] == ["2", "3"]
    assert first.poll() is None, "it stands by now"


@pytest.mark.postgres_only
def test_a_relay_frozen_in_the_middle_of_a_backlog_only_repeats_what_was_sent(start: Start, log: Path) -> None:
    messages = [new_message(f"{number:04}", key=f"key{number % 5}") for number in range(1000)]
    OutboxMessage.objects.append(messages)
    first = start(BATCH_SIZE=20, delay=0.02)
    eventually(lambda: len(payloads(log)) > 100, within=60)
    start(BATCH_SIZE=20, delay=0.02)

    first.send_signal(signal.SIGSTOP)
    eventually(lambda: not OutboxMessage.objects.exists(), within=60)
    first.send_signal(signal.SIGCONT)
    append("end")
    eventually(lambda: "end" in payloads(log))

    firsts = first_of_each(read_lines(log))
    assert {key: firsts[key] for key in firsts if key != "k"} == {
        f"key{key}": [f"{number:04}" for number in range(key, 1000, 5)] for key in range(5)
    }


@pytest.mark.postgres_only
def test_the_number_of_relays_can_change_while_they_work(start: Start, log: Path) -> None:
    """A rolling deploy: one relay for all shards, then two for half of them each, then one again."""
    expected: dict[str, list[str]] = {}
    written = 0

    def write(count: int) -> None:
        nonlocal written
        messages = []
        for number in range(written, written + count):
            key = f"key{number % 7}"
            expected.setdefault(key, []).append(f"{number:05}")
            messages.append(new_message(f"{number:05}", key=key))
        OutboxMessage.objects.append(messages)
        written += count

    running = [start("--relays", "1", BATCH_SIZE=20, delay=0.01)]
    write(200)
    eventually(lambda: payloads(log), within=60)
    for relays in ("2", "1", "2"):
        running.append(start("--relays", relays, BATCH_SIZE=20, delay=0.01))
        write(200)
        running.pop(0).send_signal(signal.SIGTERM)
        write(200)
    eventually(lambda: not OutboxMessage.objects.exists(), within=60)

    assert first_of_each(read_lines(log)) == expected


@pytest.mark.postgres_only
def test_a_relay_survives_a_restart_of_the_database(
    start: Start, log: Path, own_postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.services import databases

    entry = databases.on_postgres(own_postgres.url)
    environment = {"EVENTBUS_TEST_DATABASES": json.dumps({"default": entry})}
    migrate = [sys.executable, "-m", "django", "migrate", "-v0"]
    own = os.environ | environment | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run(migrate, env=own, check=True)
    process = start(environment=environment)
    publish = "from tests.outbox.relaying import append; append({!r})"

    def publish_there(name: str) -> None:
        code = f"import django; django.setup(); {publish.format(name)}"
        subprocess.run([sys.executable, "-c", code], env=own, check=True)

    publish_there("1")
    eventually(lambda: payloads(log) == ["1"], within=60)
    own_postgres.stop()
    time.sleep(1)
    own_postgres.start()
    publish_there("2")
    eventually(lambda: payloads(log) == ["1", "2"], within=60)

    assert process.poll() is None


def wait_for_standby(process: subprocess.Popen[str], log: Path) -> None:
    """Wait until a relay has opened its sessions; on SQLite, until it has had the time to look once."""
    if connection.vendor != "postgresql":
        time.sleep(2)
        return
    with connections["default"].cursor() as cursor:

        def count() -> int:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'django_eventbus relay'"
                " AND datname = current_database()"
            )
            return int(cursor.fetchone()[0])

        eventually(lambda: count() >= 4, within=60)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
