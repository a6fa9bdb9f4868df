"""A consumer that is killed or frozen at the worst moment: nothing is lost, nothing happens twice, order holds."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.history.consumer_history import HANDLERS, Found, History

pytestmark = pytest.mark.services

GRACE = 2.0
SESSION = 6.0


@pytest.fixture(scope="module")
def database(postgres: str) -> Iterator[str]:
    name = f"crash_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = postgres.rpartition("/")[0] + f"/{name}"
    History(url=url, broker="127.0.0.1:9", topic="none").prepare()
    yield url
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def history(database: str, kafka: str) -> Iterator[History]:
    history = History(url=database, broker=kafka, topic=f"crash-{uuid.uuid4().hex[:8]}")
    tables = "history_effect, eventbus_inbox, eventbus_retry, eventbus_partition, eventbus_dead_letter"
    history.execute(f"TRUNCATE {tables}")
    yield history
    history.stop()


def eventually(condition: Callable[[], object], *, within: float) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within, f"did not happen within {within} s"
        time.sleep(0.05)
    return time.monotonic() - began


def finish(history: History, expected: int, *, within: float = 120) -> Found:
    def is_done() -> bool:
        found = history.look(Found(expected=expected))
        return found.effects >= expected and not found.left_in_retry

    eventually(is_done, within=within)
    return history.look(Found(expected=expected))


WINDOWS = [
    "handler",
    "before commit",
    "after commit",
    "before store",
    "after store",
    "in retry unit",
    "end of retry unit",
    "take",
]


@pytest.mark.parametrize("point", WINDOWS)
def test_a_kill_in_any_window_loses_and_repeats_nothing(history: History, point: str, tmp_path: Path) -> None:
    history.produce(keys=10, each=12, partitions=2)
    history.chaos = {"CHAOS_AT": point, "CHAOS_ONCE": str(tmp_path / "died")}
    victim = history.start()
    eventually(lambda: victim.poll() is not None, within=90)
    assert victim.returncode == -signal.SIGKILL

    history.chaos = {}
    history.start()
    found = finish(history, 240)

    assert found.is_sound, found


def test_a_frozen_owner_is_evicted_and_cannot_commit(history: History) -> None:
    history.produce(keys=4, each=30, partitions=1)
    history.chaos = {"HISTORY_FREEZE": "k1/5"}
    frozen = history.start()
    state = Path(f"/proc/{frozen.pid}/stat")
    eventually(lambda: state.read_text().rsplit(")", 1)[1].split()[0] == "T", within=90)

    history.chaos = {}
    history.start()
    taken = eventually(lambda: history.count("SELECT max(epoch) FROM eventbus_partition") > 1, within=90)
    assert taken < SESSION + GRACE + 2 + 4  # session time-out, grace, its margin, and the start of Python
    finish(history, 240)
    frozen.send_signal(signal.SIGCONT)
    time.sleep(1.5)  # whatever it still does, it does now

    found = history.look(Found(expected=240))
    assert found.is_sound, found
    assert frozen.poll() is None


def test_a_message_that_kills_its_process_becomes_a_dead_letter(history: History) -> None:
    history.produce(keys=4, each=10, partitions=1)
    history.chaos = {"HISTORY_DEADLY": "k2/5"}
    deaths = 0

    def is_done() -> bool:
        nonlocal deaths
        if not history.members or history.members[-1].poll() is not None:
            deaths += bool(history.members)
            history.start("--concurrency", "2")
        return history.count("SELECT count(*) FROM history_effect") >= 78

    eventually(is_done, within=90)

    rows = history.execute("SELECT handler, reason FROM eventbus_dead_letter ORDER BY handler")
    assert rows == [("history.a", "process_died"), ("history.b", "process_died")]
    assert deaths == 4
    found = history.look(Found(expected=80))
    assert (found.repeated, found.lost) == (0, 2)


def test_sigterm_finishes_what_runs_and_leaves_the_partitions_clean(history: History) -> None:
    history.produce(keys=20, each=100, partitions=2)
    member = history.start()
    eventually(lambda: history.count("SELECT count(*) FROM history_effect") > 50, within=90)

    member.send_signal(signal.SIGTERM)

    assert member.wait(20) == 0
    assert history.execute("SELECT DISTINCT is_clean FROM eventbus_partition") == [(True,)]
    history.start()
    assert finish(history, 4000, within=90).is_sound


def test_until_caught_up_gets_past_transaction_markers(history: History) -> None:
    from confluent_kafka.cimpl import Producer

    history.produce(keys=2, each=3, partitions=1)
    producer = Producer({"bootstrap.servers": history.broker, "transactional.id": history.topic})
    producer.init_transactions(30)
    producer.begin_transaction()
    headers: list[tuple[str, str | bytes | None]]
    headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", "x1"),
        ("ce_type", "history.other"),
        ("ce_source", "/x"),
    ]
    producer.produce(history.topic, b"{}", b"k1", headers=headers)
    producer.commit_transaction(30)

    member = history.start("--until-caught-up", "--timeout", "30")

    assert member.wait(40) == 0
    assert history.count("SELECT count(*) FROM history_effect WHERE attempt = 1") > 0


def test_a_timeout_before_the_end_exits_with_3(history: History) -> None:
    history.produce(keys=20, each=200, partitions=1)

    member = history.start("--until-caught-up", "--timeout", "1")

    assert member.wait(40) == 3


def test_a_worker_without_a_handler_of_the_group_does_not_take_its_partitions(history: History) -> None:
    history.produce(keys=2, each=3, partitions=1)
    history.start()
    finish(history, 12)
    history.stop()
    history.execute("UPDATE eventbus_partition SET handlers = handlers || '[\"history.new\"]'")
    history.produce(keys=2, each=3)
    epoch = history.count("SELECT epoch FROM eventbus_partition")

    member = history.start("--until-caught-up", "--timeout", "6")

    assert member.wait(30) == 3
    assert history.count("SELECT epoch FROM eventbus_partition") == epoch
    assert history.count("SELECT count(*) FROM history_effect") == 12


def test_effects_stay_once_and_in_order_while_members_are_killed_and_frozen(history: History) -> None:
    keys, each = 30, 60
    history.produce(keys=keys, each=each, partitions=4)
    history.chaos = {"CHAOS_MEAN": "4"}

    found = history.run(seconds=60, expected=keys * each * HANDLERS, calm_after=10)

    assert found.is_sound, found
    assert found.kills + found.freezes > 0
