"""What every transport must do, so that switching it is a matter of configuration alone."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import transaction
from opentelemetry import trace

from django_eventbus import MessageContext, RetryPolicy, cancel, message_context, publish
from django_eventbus.delivery.replay import replay
from django_eventbus.models import DeadLetter, OutboxMessage, RetryMessage, ScheduledMessage
from django_eventbus.models.dead_letter import unpack_headers
from django_eventbus.signals import message_handled
from tests.conformance.happenings import Counted, Doubled, Unheard, noted, noting
from tests.conformance.world import World
from tests.shop.models import Effect, Order


class Patient:
    """A fault that a test mends when it likes: runs for these keys fail until then."""

    def __init__(self, *keys: str) -> None:
        self.keys = set(keys)
        self.seen: list[int] = []  # attempts at failing keys

    def __call__(self, event: Any, context: MessageContext) -> None:
        if event.key in self.keys:
            self.seen.append(context.attempt)
            raise LookupError(f"no tax rate for {event.key}")

    def mend(self) -> None:
        self.keys.clear()


def test_a_published_event_is_handled_once(world: World) -> None:
    noting("tests.note")
    world.start()

    world.publish(Counted(key="a", number=1))

    world.wait_until(lambda: noted("tests.note") and not OutboxMessage.objects.exists())
    assert noted("tests.note") == [1]


def test_order_within_each_key_is_the_order_of_publishing(world: World) -> None:
    noting("tests.note")
    world.start()

    for number in range(40):
        world.publish(*(Counted(key=key, number=number) for key in "abcde"))

    world.wait_until(lambda: len(noted("tests.note")) >= 200)
    for key in "abcde":
        assert noted("tests.note", key) == list(range(40))


def test_what_was_published_before_anybody_listened_is_handled(world: World) -> None:
    noting("tests.note")
    world.publish(*(Counted(key="a", number=number) for number in range(5)))

    world.start()

    world.wait_until(lambda: len(noted("tests.note")) >= 5)
    assert noted("tests.note") == [0, 1, 2, 3, 4]


def test_events_are_handled_when_they_are_due_unless_they_are_called_back(world: World) -> None:
    noting("tests.note")
    world.start()

    world.publish(Counted(key="a", number=3), delay=1.0)
    (called_back,) = world.publish(Counted(key="a", number=2), delay=0.5)
    world.publish(Counted(key="a", number=1), delay=0.3)
    world.publish(Counted(key="a", number=0))
    with transaction.atomic():
        was_waiting = cancel(called_back)

    world.wait_until(lambda: noted("tests.note")[-1:] == [3])
    assert noted("tests.note") == ([0, 1, 3] if was_waiting else [0, 1, 2, 3])
    assert not ScheduledMessage.objects.exists()


def test_a_rolled_back_event_is_never_sent(world: World) -> None:
    noting("tests.note")
    world.start()

    with suppress(LookupError), transaction.atomic():
        Order.objects.create()
        publish(Counted(key="a", number=1))
        raise LookupError
    world.publish(Counted(key="a", number=2))

    world.wait_until(lambda: noted("tests.note"))
    assert noted("tests.note") == [2]
    assert not Order.objects.exists()


def test_a_duplicate_is_dropped(world: World) -> None:
    outcomes: list[str] = []

    def hear(*, outcome: str, **_: Any) -> None:
        outcomes.append(outcome)

    noting("tests.note")
    message_handled.connect(hear)
    world.start()
    same = uuid.uuid4()

    world.publish(Counted(key="a", number=1), event_id=same)
    world.publish(Counted(key="a", number=1), event_id=same)
    world.publish(Counted(key="a", number=2))

    world.wait_until(lambda: 2 in noted("tests.note"))
    message_handled.disconnect(hear)
    assert noted("tests.note") == [1, 2]
    assert sorted(outcomes) == ["duplicate", "handled", "handled"]


def test_a_failing_key_is_retried_in_its_order_and_blocks_no_other(make_world: Callable[..., World]) -> None:
    world = make_world(RETRY={"MAX_ATTEMPTS": 1000, "DELAYS": (0.1,), "JITTER": 0})
    fault = Patient("a")
    noting("tests.note", then=fault)
    world.start()

    for number in range(3):
        world.publish(Counted(key="a", number=number), Counted(key="b", number=number))
    world.wait_until(lambda: noted("tests.note", "b") == [0, 1, 2] and len(fault.seen) >= 2)
    assert noted("tests.note", "a") == []
    fault.mend()

    world.wait_until(lambda: len(noted("tests.note", "a")) == 3)
    assert noted("tests.note", "a") == [0, 1, 2]
    assert fault.seen[:2] == [1, 2]
    assert not DeadLetter.objects.exists()


def test_a_dead_letter_is_replayed_for_its_handler_alone(world: World) -> None:
    fault = Patient("a")
    noting("tests.good")
    noting("tests.bad", then=fault)
    world.start()

    (event_id,) = world.publish(Counted(key="a", number=1))
    world.wait_until(lambda: DeadLetter.objects.filter(status="dead").exists())
    world.publish(Counted(key="a", number=2))
    world.wait_until(lambda: DeadLetter.objects.filter(status="dead").count() == 2)
    first = DeadLetter.objects.order_by("id")[0]
    fault.mend()
    replay([first.pk], actor="ada", using="default")

    world.wait_until(lambda: noted("tests.bad") and not RetryMessage.objects.exists())
    first.refresh_from_db()
    assert (first.handler, first.message_id, first.attempts) == ("tests.bad", str(event_id), 3)
    assert (first.exception_type, first.status) == ("LookupError", "replayed")
    assert fault.seen == [1, 2, 3, 1, 2, 3]
    assert noted("tests.bad") == [1]
    assert noted("tests.good") == [1, 2]


def test_a_failing_handler_neither_delays_nor_repeats_its_sibling(make_world: Callable[..., World]) -> None:
    world = make_world(RETRY={"MAX_ATTEMPTS": 1000, "DELAYS": (0.05,), "JITTER": 0})
    fault = Patient("a")
    noting("tests.good")
    noting("tests.bad", then=fault)
    world.start()

    world.publish(*(Counted(key="a", number=number) for number in range(3)))

    world.wait_until(lambda: len(noted("tests.good")) >= 3 and len(fault.seen) >= 3)
    assert noted("tests.good") == [0, 1, 2]
    assert noted("tests.bad") == []


def test_an_event_that_no_handler_knows_is_skipped(world: World) -> None:
    noting("tests.note")
    world.start()

    world.publish(Unheard(key="a"))
    world.publish(Counted(key="a", number=1))

    world.wait_until(lambda: noted("tests.note"))
    assert not DeadLetter.objects.exists()


def test_an_unreadable_record_is_kept_with_its_exact_bytes_and_the_next_is_handled(world: World) -> None:
    noting("tests.note")
    world.start()
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"x1"), ("ce_type", b"tests.conformance.counted"), ("x", b"1")]

    world.inject(world.topic(Counted), key=b"a", value=b"\x00no json\xff", headers=headers)
    world.publish(Counted(key="a", number=1))

    world.wait_until(lambda: noted("tests.note") and DeadLetter.objects.exists())
    letter = DeadLetter.objects.get()
    assert (letter.direction, letter.reason, letter.handler) == ("in", "undecodable", "")
    assert bytes(letter.payload or b"") == b"\x00no json\xff"
    assert unpack_headers(bytes(letter.headers)) == headers
    assert bytes(letter.key or b"") == b"a"


def test_returned_events_are_published_with_what_they_inherit(world: World) -> None:
    contexts: dict[str, MessageContext] = {}

    def double(event: Counted, context: MessageContext) -> Doubled:
        contexts["first"] = context
        return Doubled(key=event.key, number=event.number * 2)

    def remember(event: Doubled, context: MessageContext) -> None:
        contexts["second"] = context

    noting("tests.double", then=double)
    noting("tests.doubled", Doubled, then=remember)
    world.start()

    with message_context(correlation_id="conversation 1", tenant_id="tenant 1", headers={"origin": "wéb"}):
        (event_id,) = world.publish(Counted(key="a", number=4))

    world.wait_until(lambda: noted("tests.doubled"))
    first, second = contexts["first"], contexts["second"]
    assert noted("tests.doubled") == [8]
    assert (first.message_id, first.correlation_id, first.tenant_id) == (str(event_id), "conversation 1", "tenant 1")
    assert (first.headers, first.key, first.causation_id) == ({"origin": "wéb"}, "a", None)
    assert (second.causation_id, second.correlation_id, second.tenant_id) == (
        str(event_id),
        "conversation 1",
        "tenant 1",
    )
    assert second.message_id != first.message_id


def test_a_trace_goes_from_publisher_to_handler(world: World) -> None:
    seen: list[str | None] = []
    noting("tests.note", then=lambda event, context: seen.append(context.traceparent))
    world.start()
    caller = trace.SpanContext(trace_id=0xABC << 100, span_id=0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))

    with trace.use_span(trace.NonRecordingSpan(caller)):
        world.publish(Counted(key="a", number=1))

    world.wait_until(lambda: noted("tests.note"))
    assert seen[0] is not None
    assert seen[0].split("-")[1] == f"{0xABC << 100:032x}"


def test_a_large_payload_arrives_whole(world: World) -> None:
    seen: list[str] = []
    noting("tests.note", then=lambda event, context: seen.append(event.note))
    world.start()
    note = uuid.uuid4().hex * 25_000

    world.publish(Counted(key="a", number=1, note=note))

    world.wait_until(lambda: noted("tests.note"))
    assert seen == [note]


def test_batch_async_and_own_transaction_handlers_work_side_by_side(world: World) -> None:
    from django_eventbus import handler

    @handler(Counted, name="tests.batch", batch=10)
    def batch(events: list[Counted]) -> None:
        Effect.objects.bulk_create(Effect(handler="tests.batch", key=e.key, number=e.number) for e in events)

    @handler(Counted, name="tests.async")
    async def asynchronous(event: Counted) -> None:
        await Effect.objects.acreate(handler="tests.async", key=event.key, number=event.number)

    @handler(Counted, name="tests.outside", atomic=False)
    def outside(event: Counted) -> None:
        Effect.objects.create(handler="tests.outside", key=event.key, number=event.number)

    names = ("tests.batch", "tests.async", "tests.outside")
    world.start()

    world.publish(*(Counted(key="a", number=number) for number in range(6)))

    world.wait_until(lambda: all(len(noted(name)) >= 6 for name in names))
    for name in names:
        assert noted(name) == list(range(6))


def test_a_held_key_waits_for_its_replay(world: World) -> None:
    fault = Patient("a")
    noting("tests.note", then=fault, on_dead_letter="hold_key", retry=RetryPolicy(max_attempts=1))
    world.start()

    world.publish(*(Counted(key=key, number=number) for number in range(3) for key in "ab"))
    world.wait_until(lambda: len(noted("tests.note", "b")) == 3 and DeadLetter.objects.exists())
    assert noted("tests.note", "a") == []
    fault.mend()
    replay([DeadLetter.objects.get().pk], actor="ada", using="default")

    world.wait_until(lambda: len(noted("tests.note", "a")) == 3)
    assert noted("tests.note", "a") == [0, 1, 2]


@pytest.mark.parametrize("workers", [3])
def test_several_workers_share_the_work_and_keep_each_key_in_order(world: World, workers: int) -> None:
    noting("tests.note")
    world.start(workers=workers)

    for number in range(30):
        world.publish(*(Counted(key=key, number=number) for key in "abcdef"))

    world.wait_until(lambda: len(noted("tests.note")) >= 180)
    for key in "abcdef":
        assert noted("tests.note", key) == list(range(30))
