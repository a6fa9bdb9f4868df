from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from django.utils import timezone

from django_eventbus import publish, reschedule
from django_eventbus.models import ControlFlag
from django_eventbus.outbox import relay
from django_eventbus.outbox.notifier import Notifier, notifiers
from django_eventbus.outbox.postgresql_bell import PostgresqlBell
from django_eventbus.outbox.wakeup import waking_in_tests
from tests.outbox.published_events import OrderShipped
from tests.outbox.relaying import RecordingSender, bus_config, relaying

PATIENCE = 10.0
EVENT = OrderShipped(number=1)
NOTIFY = {"default": {"OUTBOX": {"WAKE_WITH": "notify"}}}


def commit_event() -> None:
    with transaction.atomic():
        publish(EVENT)


class Listener:
    """Be what an idle relay is for PostgreSQL: a session that listens."""

    def __init__(self) -> None:
        parameters = connections["default"].get_connection_params() | {"autocommit": True}
        self.connection: Any = connections["default"].Database.connect(**parameters)  # type: ignore[attr-defined]
        number = ControlFlag.objects.get(bus="default").pk
        self.connection.execute(f"LISTEN eventbus_outbox_{number}")

    def heard(self, *, timeout: float = PATIENCE, limit: int = 1) -> int:
        return len(list(self.connection.notifies(timeout=timeout, stop_after=limit)))

    def sessions_of_notifiers(self) -> list[int]:
        rows = self.connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE query LIKE 'NOTIFY eventbus%' AND pid <> pg_backend_pid()"
            " AND datname = current_database()"
        )
        return [pid for (pid,) in rows.fetchall()]


@pytest.fixture
def listener(transactional_db: None, settings: Any) -> Iterator[Listener]:
    settings.EVENTBUS = NOTIFY
    ControlFlag.objects.ensure_buses(["default"])
    listener = Listener()
    with waking_in_tests():
        yield listener
    listener.connection.close()


@pytest.mark.postgres_only
class TestNotify:
    def test_commit_is_heard(self, listener: Listener) -> None:
        commit_event()

        assert listener.heard() == 1

    def test_commit_by_autocommit_is_heard(self, listener: Listener, settings: Any) -> None:
        settings.EVENTBUS = {"default": {"REQUIRE_ATOMIC": False, "OUTBOX": {"WAKE_WITH": "notify"}}}

        publish(EVENT)

        assert listener.heard() == 1

    def test_rollback_is_not(self, listener: Listener) -> None:
        with transaction.atomic():
            publish(EVENT)
            transaction.set_rollback(True)

        assert listener.heard(timeout=0.3) == 0

    def test_publish_before_a_rolled_back_savepoint_is_heard(self, listener: Listener) -> None:
        with transaction.atomic():
            with transaction.atomic():
                publish(EVENT)
                transaction.set_rollback(True)
            publish(EVENT)

        assert listener.heard() == 1

    def test_hundred_commits_are_few_notices(self, listener: Listener) -> None:
        began = time.monotonic()
        for _ in range(100):
            commit_event()
        most = (time.monotonic() - began) / PostgresqlBell.window.total_seconds() + 2

        assert 1 <= listener.heard(timeout=0.5, limit=1000) <= min(100, most)

    def test_thread_and_session_are_shared_and_end_with_stop(self, listener: Listener) -> None:
        for _ in range(3):
            commit_event()
            assert listener.heard() == 1

        assert len(listener.sessions_of_notifiers()) == 1
        notifiers.stop()
        wait_until(lambda: listener.sessions_of_notifiers() == [])
        assert notifier_threads() == []

    def test_session_that_was_ended_is_replaced(self, listener: Listener) -> None:
        commit_event()
        assert listener.heard() == 1
        (pid,) = listener.sessions_of_notifiers()
        listener.connection.execute("SELECT pg_terminate_backend(%s)", [pid])
        wait_until(lambda: listener.sessions_of_notifiers() == [])

        commit_event()

        assert listener.heard() == 1

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_forked_child_has_a_session_of_its_own_and_leaves_its_parents_alone(self, listener: Listener) -> None:
        commit_event()
        assert listener.heard() == 1
        before = listener.sessions_of_notifiers()

        child = os.fork()
        if child == 0:
            gc.disable()  # an inherited Kafka client, collected here, would wait for threads that stayed behind
            # The child's copies of its parent's connections are not its to close.
            for wrapper in connections.all():
                wrapper.connection = None
            code = 1
            try:
                commit_event()
                notifiers.stop()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0

        assert listener.heard() >= 1  # to end its thread, the child may ring once more
        assert listener.sessions_of_notifiers() == before
        commit_event()
        assert listener.heard() == 1

    def test_unreachable_server_costs_the_caller_nothing(
        self, listener: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings_dict = connections["default"].settings_dict
        commit_event()
        monkeypatch.setitem(settings_dict, "PORT", "1")
        notifiers.stop()

        commit_event()
        wait_until(lambda: "wake-up failed" in caplog.text)


@pytest.mark.django_db(transaction=True)
def test_nobody_is_woken_in_tests_unless_asked(settings: Any) -> None:
    settings.EVENTBUS = {"default": {"OUTBOX": {"WAKE_WITH": "thread"}}}

    commit_event()

    assert notifier_threads() == []
    assert notifier_threads("relay") == []


class CountingBell:
    """A bell without wires."""

    errors: tuple[type[Exception], ...] = (OSError,)

    def __init__(self, *, window: float = 0.0, broken: bool = False) -> None:
        self.window = timedelta(seconds=window)
        self.rings = 0
        self.is_closed = False
        self._is_broken = broken

    def ring(self) -> None:
        self.rings += 1
        if self._is_broken:
            raise OSError

    def close(self) -> None:
        self.is_closed = True


class TestNotifier:
    def test_has_no_thread_before_the_first_request_and_none_after_stop(self) -> None:
        bell = CountingBell()
        notifier = Notifier(lambda: bell, name="test")
        assert notifier_threads("test") == []

        notifier.request()
        wait_until(lambda: bell.rings == 1)
        notifier.stop()

        assert notifier_threads("test") == []
        assert bell.is_closed

    def test_works_again_after_stop(self) -> None:
        bell = CountingBell()
        notifier = Notifier(lambda: bell, name="test")
        notifier.request()
        notifier.stop()
        rings = bell.rings

        notifier.request()

        wait_until(lambda: bell.rings > rings)
        notifier.stop()

    def test_requests_of_a_window_share_a_ring(self) -> None:
        bell = CountingBell(window=0.05)
        notifier = Notifier(lambda: bell, name="test")

        def ask() -> None:
            for _ in range(100):
                notifier.request()

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        notifier.stop()

        assert 1 <= bell.rings <= 5

    def test_first_request_rings_at_once_and_one_in_its_window_rings_at_the_end_of_it(self) -> None:
        bell = CountingBell(window=0.5)
        notifier = Notifier(lambda: bell, name="test")
        began = time.monotonic()

        notifier.request()
        wait_until(lambda: bell.rings == 1)
        first_after = time.monotonic() - began
        notifier.request()
        wait_until(lambda: bell.rings == 2)

        assert first_after < 0.4
        assert time.monotonic() - began >= 0.5
        notifier.stop()

    def test_waiting_request_is_served_at_stop(self) -> None:
        bell = CountingBell(window=60)
        notifier = Notifier(lambda: bell, name="test")

        notifier.request()
        notifier.stop()

        assert bell.rings >= 1

    def test_failure_is_reported_once(self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("django_eventbus.outbox.notifier.PAUSE_AFTER_FAILURE", timedelta(0))
        bell = CountingBell(broken=True)
        notifier = Notifier(lambda: bell, name="test")

        for rings in range(1, 4):
            notifier.request()
            wait_until(lambda rings=rings: bell.rings >= rings)  # type: ignore[misc]
        notifier.stop()

        assert caplog.text.count("wake-up failed") == 1

    def test_idle_thread_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("django_eventbus.outbox.notifier.LINGER", timedelta(milliseconds=20))
        bell = CountingBell()
        notifier = Notifier(lambda: bell, name="test")

        notifier.request()

        wait_until(lambda: notifier_threads("test") == [])
        assert bell.is_closed


def notifier_threads(name: str = "notify") -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(f"eventbus-{name}")]


def wait_until(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends_at, "it did not happen in time"
        time.sleep(0.01)


@pytest.mark.postgres_only
def test_commit_for_later_wakes_an_idle_relay_which_then_waits_for_that_moment(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "IDLE_PAUSE", 60.0)
    monkeypatch.setattr(relay, "BUSY_PAUSE", 60.0)
    sender, is_idle = RecordingSender(), threading.Event()
    patient = bus_config(grace=timedelta(seconds=240), wake_with="notify")

    with relaying(sender, patient, on_progress=lambda report: is_idle.set()):
        assert is_idle.wait(PATIENCE)
        with transaction.atomic():
            far = publish(EVENT, delay=3600)
            publish(EVENT, delay=0.5)
        assert sender.has_sent.wait(PATIENCE)
        sender.has_sent.clear()
        with transaction.atomic():
            reschedule(far, deliver_at=timezone.now() + timedelta(seconds=0.5))
        assert sender.has_sent.wait(PATIENCE)

    assert len(sender.sent) == 2
