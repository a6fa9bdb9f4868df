"""What one unit of work promises, whatever the handlers in it do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from django_eventbus.delivery.retry import RetryPolicy
from django_eventbus.exceptions import Reject, RetryAfter
from django_eventbus.models import DeadLetter, InboxMessage, RetryMessage
from tests.consumer.scene import Counted, Scene, counted, noted
from tests.shop.models import Effect


class Failed(Exception):
    """What a handler of these tests fails with."""


def fail_on(*numbers: int) -> Any:
    def fails(event: Counted) -> None:
        if event.number in numbers:
            raise Failed(f"not {event.number}")

    return fails


def test_each_message_is_handled_once_per_handler(scene: Scene) -> None:
    scene.handles("first")
    scene.handles("second")

    done = scene.deliver(*[counted(n) for n in range(120)])

    assert done == 120
    assert noted("first") == noted("second") == list(range(120))
    assert InboxMessage.objects.count() == 240


def test_a_message_that_comes_again_does_nothing(scene: Scene) -> None:
    scene.handles("first")
    scene.deliver(counted(1), counted(2))

    scene.deliver(counted(2, offset=7), counted(1, offset=8), counted(3, offset=9), counted(3, offset=10))

    assert noted("first") == [1, 2, 3]


def test_a_failure_undoes_its_own_run_and_no_other(scene: Scene) -> None:
    scene.handles("good")
    scene.handles("bad", fail_on(2))

    scene.deliver(counted(1, "a"), counted(2, "b"), counted(3, "c"))

    assert noted("good") == [1, 2, 3]
    assert noted("bad") == [1, 3]
    assert RetryMessage.objects.get().error_type.endswith("Failed")


def test_hooks_of_a_failed_run_do_not_fire(scene: Scene) -> None:
    fired: list[int] = []

    def hook(event: Counted) -> None:
        transaction.on_commit(lambda: fired.append(event.number))
        fail_on(2)(event)

    scene.handles("hooked", hook)

    scene.deliver(counted(1, "a"), counted(2, "b"), counted(3, "c"))

    assert fired == [1, 3]


def test_a_hook_that_raises_stops_no_other_and_runs_nothing_again(scene: Scene) -> None:
    fired: list[int] = []

    def hook(number: int) -> None:
        if number == 1:
            raise Failed("in the hook")
        fired.append(number)

    scene.handles("hooked", lambda event: transaction.on_commit(lambda: hook(event.number)))

    scene.deliver(counted(1, "a"), counted(2, "b"))

    assert fired == [2]
    assert noted("hooked") == [1, 2]
    assert not RetryMessage.objects.exists()


def test_a_transaction_left_broken_is_a_failed_attempt(scene: Scene) -> None:
    def breaks(event: Counted) -> None:
        if event.number == 2:
            try:
                with transaction.atomic(savepoint=False):
                    raise IntegrityError
            except IntegrityError:
                pass

    scene.handles("broken", breaks)

    scene.deliver(counted(1, "a"), counted(2, "b"), counted(3, "c"))

    assert noted("broken") == [1, 3]
    waiting = RetryMessage.objects.get()
    assert (waiting.position, waiting.error_type.rpartition(".")[2]) == (2, "HandlerMisbehaved")
    assert not connection.needs_rollback


@pytest.mark.postgres_only
def test_a_failed_statement_that_a_handler_swallows_is_a_failed_attempt(scene: Scene) -> None:
    def swallows(event: Counted) -> None:
        if event.number == 2:
            with connection.cursor() as cursor:
                try:
                    cursor.execute("SELECT 1/0")
                except DatabaseError:
                    return

    scene.handles("swallows", swallows)

    scene.deliver(counted(1, "a"), counted(2, "b"), counted(3, "c"))

    assert noted("swallows") == [1, 3]


@pytest.mark.postgres_only
def test_a_constraint_checked_at_commit_fails_its_own_message_only(scene: Scene) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE shop_effect ADD CONSTRAINT late UNIQUE (handler, key) DEFERRABLE INITIALLY DEFERRED"
        )
    try:
        scene.handles("late")

        scene.deliver(counted(1, "a"), counted(2, "b"), counted(3, "a"), counted(4, "c"))

        assert noted("late") == [1, 2, 4]
        assert RetryMessage.objects.get().error_type.endswith("IntegrityError")
    finally:
        Effect.objects.all().delete()
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE shop_effect DROP CONSTRAINT late")


@pytest.mark.postgres_only
def test_a_handler_that_closes_its_connection_ends_as_a_failed_attempt(scene: Scene) -> None:
    scene.handles("closes", lambda event: connection.close() if event.number == 2 else None)

    scene.deliver(counted(1, "a"), counted(2, "b"), counted(3, "c"))

    assert noted("closes") == [1, 3]
    assert RetryMessage.objects.get().attempts == 1


def test_a_key_waits_while_one_of_its_messages_is_retried_and_other_keys_flow(scene: Scene) -> None:
    attempts: list[int] = []

    def fails_twice(event: Counted) -> None:
        if event.number == 1 and event.key == "a":
            attempts.append(1)
            if len(attempts) < 3:
                raise Failed

    scene.handles("ordered", fails_twice)

    scene.deliver(counted(1, "a", offset=1), counted(1, "b", offset=2), counted(2, "a", offset=3))
    scene.deliver(counted(3, "a", offset=4), counted(2, "b", offset=5))
    assert noted("ordered", "a") == []
    assert noted("ordered", "b") == [1, 2]
    scene.retry()
    assert noted("ordered", "a") == []
    scene.retry()

    assert noted("ordered", "a") == [1, 2, 3]
    assert not RetryMessage.objects.exists()


def test_a_row_that_is_due_behind_one_that_is_not_keeps_nobody_busy(scene: Scene) -> None:
    scene.handles("first", fail_on(1))
    scene.deliver(counted(1), counted(2))
    RetryMessage.objects.filter(position=2).update(available_at="2020-01-01T00:00:00Z")  # as a replay does

    wait = scene.deliverer.run_due_retries()

    assert (wait, noted("first")) == (1.0, [])


def test_an_unordered_handler_lets_the_key_go_on(scene: Scene) -> None:
    scene.handles("unordered", fail_on(1), ordered=False)

    scene.deliver(counted(1), counted(2))

    assert noted("unordered") == [2]


def test_after_the_last_attempt_the_message_is_a_dead_letter_and_the_key_goes_on(scene: Scene) -> None:
    scene.handles("mortal", fail_on(1))

    scene.deliver(counted(1), counted(2))
    scene.retry()
    scene.retry()

    dead = DeadLetter.objects.get()
    assert (dead.attempts, dead.reason, dead.position) == (3, "attempts_exhausted", 1)
    assert noted("mortal") == [2]
    assert not RetryMessage.objects.exists()


def test_hold_key_keeps_the_key_until_an_operator_decides(scene: Scene) -> None:
    from django_eventbus.delivery.replay import discard

    scene.handles("held", fail_on(1), on_dead_letter="hold_key")
    scene.deliver(counted(1), counted(2))
    scene.retry()
    scene.retry()
    scene.retry()
    assert noted("held") == []

    discard([DeadLetter.objects.get().pk], actor="ann", using="default")
    scene.retry()

    assert noted("held") == [2]


def test_reject_makes_a_dead_letter_at_once(scene: Scene) -> None:
    def reject(event: Counted) -> None:
        raise Reject("no such account")

    scene.handles("rejecting", reject)

    scene.deliver(counted(1))

    assert DeadLetter.objects.get().reason == "rejected"
    assert noted("rejecting") == []


def test_retry_after_says_when(scene: Scene) -> None:
    def later(event: Counted) -> None:
        raise RetryAfter(3600)

    scene.handles("later", later)

    scene.deliver(counted(1))

    row = RetryMessage.objects.get()
    assert row.available_at is not None
    assert 3500 < (row.available_at - row.received_at).total_seconds() < 3700


def test_a_delay_that_reaches_beyond_the_calendar_is_cut_and_the_next_message_is_handled(scene: Scene) -> None:
    def later(event: Counted) -> None:
        if event.number == 1:
            raise RetryAfter(1_700_000_000_000)  # the time in milliseconds, taken for a delay

    scene.handles("later", later)

    scene.deliver(counted(1), counted(2, "b"))

    assert RetryMessage.objects.get().available_at is not None
    assert noted("later") == [2]


def test_a_replayed_dead_letter_runs_the_failed_handler_alone(scene: Scene) -> None:
    from django_eventbus.delivery.replay import replay

    broken = [True]

    def fails(event: Counted) -> None:
        if broken:
            raise Reject("not yet")

    scene.handles("good")
    scene.handles("bad", fails)
    scene.deliver(counted(1))
    broken.clear()

    replay([DeadLetter.objects.get().pk], actor="ann", using="default")
    scene.retry()

    assert noted("good") == noted("bad") == [1]
    assert DeadLetter.objects.get().status == "replayed"
    assert not RetryMessage.objects.exists()


def test_a_replay_that_fails_again_is_dead_again(scene: Scene) -> None:
    from django_eventbus.delivery.replay import replay

    def fails(event: Counted) -> None:
        raise Reject("never")

    scene.handles("bad", fails)
    scene.deliver(counted(1))

    replay([DeadLetter.objects.get().pk], actor="ann", using="default")
    scene.retry()

    dead = DeadLetter.objects.get()
    assert (dead.status, dead.times_dead) == ("dead", 2)


def test_an_unreadable_record_is_one_dead_letter_however_often_it_comes(scene: Scene) -> None:
    scene.handles("first")

    scene.deliver(counted(1, value=b"{"), counted(2, "b"))
    scene.deliver(counted(1, value=b"{"))

    dead = DeadLetter.objects.get()
    assert (dead.handler, bytes(dead.payload or b""), dead.times_dead) == ("", b"{", 1)
    assert noted("first") == [2]


def test_an_unreadable_record_is_kept_whatever_offset_its_time_has(scene: Scene) -> None:
    scene.handles("first")
    strange = counted(1, value=b"{")

    scene.deliver(strange._replace(headers=[*strange.headers, ("ce_time", b"2026-11-21T08:30:00+22:00")]))

    assert DeadLetter.objects.get().published_at == datetime(2026, 11, 20, 10, 30, tzinfo=UTC)


def test_another_unreadable_record_at_the_same_offset_is_kept_too(scene: Scene) -> None:
    scene.handles("first")
    scene.deliver(counted(1, value=b"{"))

    scene.deliver(counted(1, value=b"["))  # of a topic that was made again

    kept = DeadLetter.objects.order_by("id").values_list("payload", flat=True)
    assert [bytes(payload or b"") for payload in kept] == [b"{", b"["]


def test_a_replayed_unreadable_record_reaches_every_handler_once_the_code_can_read_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_eventbus.delivery.replay import replay
    from django_eventbus.events.registry import events
    from django_eventbus.exceptions import Undecodable, UndecodableReason

    scene.handles("first")
    scene.handles("second")

    def refuse(*args: object, **options: object) -> object:
        raise Undecodable(UndecodableReason.INVALID_DATA, "old code")

    with monkeypatch.context() as patched:
        patched.setattr(events, "decode", refuse)
        scene.deliver(counted(1))
    assert noted("first") == []

    replay([DeadLetter.objects.get().pk], actor="ann", using="default")
    scene.retry()
    scene.retry()

    assert noted("first") == noted("second") == [1]
    assert DeadLetter.objects.get().status == "replayed"


def test_an_idempotent_handler_writes_no_inbox_row(scene: Scene) -> None:
    scene.handles("natural", idempotent=True)

    scene.deliver(counted(1), counted(1, offset=2))

    assert noted("natural") == [1, 1]
    assert not InboxMessage.objects.exists()


def test_a_handler_without_transaction_is_remembered_and_retried(scene: Scene) -> None:
    seen: list[int] = []

    def outside(event: Counted) -> None:
        assert not connection.in_atomic_block
        seen.append(event.number)
        if event.number == 1 and seen.count(1) == 1:
            raise Failed

    scene.handles("outside", outside, atomic=False)

    scene.deliver(counted(1), counted(2), counted(3, "b"))
    assert seen == [1, 3]
    scene.retry()
    scene.retry()
    scene.deliver(counted(1, offset=9))

    assert seen == [1, 3, 1, 2]
    assert InboxMessage.objects.count() == 3


def test_a_renamed_handler_knows_what_it_handled_under_its_old_name(scene: Scene) -> None:
    from django_eventbus.delivery.registry import handlers

    with handlers.isolated():
        scene.handles("old")
        scene.deliver(counted(1))
        scene.close()
        scene._deliverer = None
    with handlers.isolated() as registry:
        registry._by_name.clear()
        scene.handles("new", aliases=("old",))
        scene.deliver(counted(1), counted(2))

    assert noted("new") == [2]


@pytest.mark.parametrize("escape", [SystemExit, GeneratorExit])
def test_base_exceptions_of_a_handler_are_failed_attempts(scene: Scene, escape: type[BaseException]) -> None:
    def escapes(event: Counted) -> None:
        if event.number == 1:
            raise escape

    scene.handles("escaping", escapes)

    scene.deliver(counted(1, "a"), counted(2, "b"))

    assert noted("escaping") == [2]
    assert RetryMessage.objects.get().attempts == 1


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK"])
def test_a_handler_that_ends_the_transaction_of_its_unit_takes_no_other_message_with_it(
    scene: Scene, statement: str
) -> None:
    def ends_it(event: Counted) -> None:
        if event.number == 2:
            with connection.cursor() as cursor:
                cursor.execute(statement)

    scene.handles("first", ends_it, retry=RetryPolicy(max_attempts=1))

    scene.deliver(*(counted(n, f"k{n}") for n in range(6)))

    assert [number for number in noted("first") if number != 2] == [0, 1, 3, 4, 5]
    letter = DeadLetter.objects.get()
    assert "ended the transaction" in letter.exception_message
    assert not RetryMessage.objects.exists()
