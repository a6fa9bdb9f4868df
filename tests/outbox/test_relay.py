from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_eventbus import signals
from django_eventbus.models import DeadLetter, OutboxLane, OutboxMessage, ParkedMessage, SentMessage
from django_eventbus.models.dead_letter import unpack_headers
from django_eventbus.models.outbox import HELD_UNTIL
from django_eventbus.outbox import parking, relay, settling
from django_eventbus.outbox.relay import Relay
from django_eventbus.signals import RelayState
from django_eventbus.transports.base import Failure, FailureKind
from tests.outbox.relaying import RecordingSender, append, bus_config, drain, eventually, failing, relaying

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def prompt_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "FIRST_BACKOFF", 0.05)
    monkeypatch.setattr(settling, "TOPIC_PROBE", 0.05)


@pytest.fixture
def heard() -> Iterator[list[dict[str, Any]]]:
    """Every signal of the relay, in the order of its sending."""
    received: list[dict[str, Any]] = []
    wanted = (signals.message_sent, signals.message_dead_lettered, signals.relay_state_changed)

    def hear(**details: Any) -> None:
        received.append(details)

    for signal in wanted:
        signal.connect(hear)
    yield received
    for signal in wanted:
        signal.disconnect(hear)


def make_due() -> None:
    OutboxLane.objects.update(available_at=timezone.now() - timedelta(seconds=1))


def test_everything_is_sent_once_in_the_order_of_ids_and_leaves_the_outbox() -> None:
    append(*map(str, range(2500)))
    sender = RecordingSender()

    report = drain(sender)

    assert sender.payloads == [str(number) for number in range(2500)]
    assert report.sent == 2500
    assert report.is_empty
    assert not OutboxMessage.objects.exists()
    assert sender.is_closed


def test_a_relay_sends_the_messages_of_its_own_bus_only() -> None:
    append("ours", bus="default")
    append("theirs", bus="audit")
    sender = RecordingSender()

    drain(sender, bus_config("audit"))

    assert sender.payloads == ["theirs"]
    assert [bytes(message.payload) for message in OutboxMessage.objects.all()] == [b"ours"]


def test_once_is_one_pass() -> None:
    append(*map(str, range(30)))
    sender = RecordingSender()

    report = Relay(bus_config(batch_size=20), lambda: sender).run(threading.Event(), once=True)

    assert report.sent == 20
    assert OutboxMessage.objects.count() == 10


def test_while_the_transport_is_down_nothing_is_counted_and_everything_stays() -> None:
    append("1", "2")
    sender = RecordingSender()
    sender.rule = failing(FailureKind.TRANSPORT_DOWN, code="_TRANSPORT")

    report = drain(sender, timeout=1)

    assert not report.is_empty
    assert report.sent == report.dead_lettered == report.parked == 0
    assert OutboxMessage.objects.count() == 2
    assert not OutboxLane.objects.exists()


def test_a_relay_that_backs_off_does_not_ask_more_often_than_the_longest_pause_allows_and_recovers_alone() -> None:
    append("1")
    sender = RecordingSender()
    sender.rule = failing(FailureKind.PRODUCER_FAULT, code="_FATAL")

    with relaying(sender):
        eventually(lambda: len(sender.batches) >= 4)
        tried = len(sender.batches)
        sender.rule = lambda row: None
        sender.has_sent.wait(5)

    assert sender.payloads == ["1"]
    assert tried < 20


def test_a_row_that_the_broker_will_never_take_is_a_dead_letter_and_later_rows_of_its_key_go_on() -> None:
    append("1", "bad", "3")
    sender = RecordingSender()
    sender.rule = failing(FailureKind.PERMANENT, code="MSG_SIZE_TOO_LARGE", payload="bad")

    report = drain(sender)

    assert sender.payloads == ["1", "3"]
    assert report.dead_lettered == 1
    letter = DeadLetter.objects.get()
    assert (letter.direction, letter.status, letter.reason) == ("out", "dead", "refused_by_broker")
    assert (letter.exception_type, letter.attempts, letter.bus) == ("MSG_SIZE_TOO_LARGE", 1, "default")
    assert (letter.topic, bytes(letter.key or b""), bytes(letter.payload or b"")) == ("orders", b"k", b"bad")
    assert (letter.event_name, letter.source, letter.correlation_id) == ("t.placed", "/shop", "c-1")
    assert ("ce_id", letter.message_id.encode()) in unpack_headers(bytes(letter.headers))
    assert not OutboxMessage.objects.exists()


def test_where_keys_are_held_later_rows_wait_behind_a_dead_letter_until_a_verdict() -> None:
    append("bad", "2")
    append("other", key="free")
    sender = RecordingSender()
    sender.rule = failing(FailureKind.PERMANENT, payload="bad")
    config = bus_config(on_dead_letter="hold_key")

    report = drain(sender, config)
    append("3")
    drain(sender, config)

    assert sender.payloads == ["other"]
    assert report.is_empty, "what is held is nobody's work now"
    assert OutboxLane.objects.get().available_at == HELD_UNTIL
    assert ParkedMessage.objects.count() == 2

    make_due()
    drain(sender, config)

    assert sender.payloads == ["other", "2", "3"]
    assert not OutboxLane.objects.exists()


@pytest.mark.usefixtures("prompt_probes")
@pytest.mark.parametrize("kind", [FailureKind.OTHER, FailureKind.PERMANENT])
def test_a_message_without_a_key_holds_up_no_other(kind: FailureKind) -> None:
    append("bad", "2", key="")
    sender = RecordingSender()
    sender.rule = failing(kind, payload="bad")
    config = bus_config(on_dead_letter="hold_key")

    drain(sender, config, timeout=0.5)
    append("3", key="")
    drain(sender, config, timeout=0.5)

    assert [payload for payload in sender.payloads if payload != "bad"] == ["2", "3"]


def test_a_key_in_trouble_waits_alone_is_probed_with_one_row_and_keeps_its_order() -> None:
    append("1", "2", "3", key="bad")
    append("a", "b", key="good")
    sender = RecordingSender()
    sender.rule = failing(FailureKind.OTHER, code="KAFKA_STORAGE_ERROR", key="bad")

    with relaying(sender):
        eventually(lambda: OutboxLane.objects.filter(attempts__gte=3).exists())
        append("4", key="bad")
        append("c", key="good")
        eventually(lambda: len(sender.sent) == 3)
        probes = {len(batch) for batch in sender.batches[2:] if set(batch) <= {1, 2, 3, 4}}
        lane = OutboxLane.objects.get()
        sender.rule = lambda row: None
        eventually(lambda: not OutboxLane.objects.exists())

    assert sender.of_key("bad") == ["1", "2", "3", "4"]
    assert sender.of_key("good") == ["a", "b", "c"]
    assert (lane.reason, lane.whole) == ("KAFKA_STORAGE_ERROR", False)
    assert probes <= {1}
    assert not ParkedMessage.objects.exists()


@pytest.mark.usefixtures("prompt_probes")
def test_a_topic_in_trouble_steps_aside_as_a_whole_without_attempts_and_the_others_go_on() -> None:
    for key in ("x", "y", "z"):
        append("1", "2", key=key, topic="gone")
    append("here", key="x")
    sender = RecordingSender()
    sender.rule = failing(FailureKind.TOPIC, code="UNKNOWN_TOPIC_OR_PART", topic="gone")

    with relaying(sender):
        eventually(lambda: len(sender.sent) == 1)
        append("3", key="w", topic="gone")
        eventually(lambda: ParkedMessage.objects.count() == 7)
        lanes = list(OutboxLane.objects.all())
        sender.rule = lambda row: None
        eventually(lambda: not OutboxLane.objects.exists())

    assert {(lane.whole, lane.attempts, lane.topic) for lane in lanes} == {(True, 0, "gone")}
    assert not DeadLetter.objects.exists()
    assert [sender.of_key(key) for key in "yzw"] == [["1", "2"], ["1", "2"], ["3"]]
    assert sender.of_key("x") == ["here", "1", "2"]


@pytest.mark.usefixtures("prompt_probes")
def test_a_key_in_trouble_leaves_the_lane_of_its_topic_with_all_that_is_its_own() -> None:
    append("1", "2", key="bad", topic="gone")
    append("1", "2", key="good", topic="gone")
    sender = RecordingSender()
    sender.rule = failing(FailureKind.TOPIC, topic="gone")

    with relaying(sender):
        eventually(lambda: ParkedMessage.objects.count() == 4)
        sender.rule = failing(FailureKind.OTHER, key="bad")
        eventually(lambda: sender.of_key("good") == ["1", "2"])
        eventually(lambda: OutboxLane.objects.filter(whole=False).exists())
        append("3", key="bad", topic="gone")
        eventually(lambda: not OutboxMessage.objects.exists())
        assert ParkedMessage.objects.count() == 3
        sender.rule = lambda row: None
        eventually(lambda: not OutboxLane.objects.exists())

    assert sender.of_key("bad") == ["1", "2", "3"]


def test_a_key_with_a_lane_of_its_own_waits_there_even_while_its_topic_waits_too() -> None:
    append("1", key="bad")
    message = OutboxMessage.objects.get()
    place = {"bus": message.bus, "shard": message.shard, "topic": message.topic, "available_at": HELD_UNTIL}
    OutboxLane.objects.create(**place, whole=True, key=b"", reason="x")
    own = OutboxLane.objects.create(**place, whole=False, key=b"bad", reason="x")

    Relay(bus_config(), RecordingSender).run(threading.Event(), once=True)

    assert ParkedMessage.objects.get().lane_id == own.pk


@pytest.mark.usefixtures("prompt_probes")
@pytest.mark.parametrize("on_dead_letter", ["continue", "hold_key"])
def test_a_parked_row_that_is_refused_becomes_a_dead_letter_as_any_other(on_dead_letter: str) -> None:
    append("bad", "2", topic="gone")
    sender = RecordingSender()
    sender.rule = failing(FailureKind.TOPIC, topic="gone")
    config = bus_config(on_dead_letter=on_dead_letter)

    with relaying(sender, config):
        eventually(lambda: ParkedMessage.objects.count() == 2)
        sender.rule = failing(FailureKind.PERMANENT, payload="bad")
        eventually(lambda: DeadLetter.objects.exists())
        if on_dead_letter == "continue":
            eventually(lambda: not OutboxLane.objects.exists())
        else:
            eventually(lambda: OutboxLane.objects.filter(whole=False, available_at=HELD_UNTIL).exists())
            eventually(lambda: not OutboxLane.objects.filter(whole=True).exists())

    assert bytes(DeadLetter.objects.get().payload or b"") == b"bad"
    assert sender.payloads == (["2"] if on_dead_letter == "continue" else [])
    assert ParkedMessage.objects.count() == (0 if on_dead_letter == "continue" else 1)


def test_an_outage_while_a_lane_is_probed_counts_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    append("1")
    sender = RecordingSender()
    sender.rule = failing(FailureKind.OTHER)
    drain(sender, timeout=0.1)
    assert OutboxLane.objects.get().attempts == 1

    make_due()
    sender.rule = failing(FailureKind.TRANSPORT_DOWN)
    drain(sender, timeout=0.5)

    assert OutboxLane.objects.get().attempts == 1


def test_with_a_retention_sent_rows_move_to_the_archive() -> None:
    append("1", "2")
    before = list(OutboxMessage.objects.order_by("id").values("id", "event_id", "key", "headers", "payload"))

    drain(RecordingSender(), bus_config(retention=timedelta(days=7)))

    kept = SentMessage.objects.order_by("id").values("id", "event_id", "key", "headers", "payload")
    assert [{name: _plain(value) for name, value in row.items()} for row in kept] == [
        {name: _plain(value) for name, value in row.items()} for row in before
    ]


@pytest.mark.usefixtures("prompt_probes")
def test_with_a_retention_parked_rows_reach_the_archive_too() -> None:
    append("1")
    sender = RecordingSender()
    sender.rule = failing(FailureKind.TOPIC)
    config = bus_config(retention=timedelta(days=7))

    with relaying(sender, config):
        eventually(lambda: ParkedMessage.objects.exists())
        sender.rule = lambda row: None
        eventually(lambda: SentMessage.objects.count() == 1)

    assert sender.payloads == ["1"]


def test_a_relay_tells_what_it_sent_buried_and_became(heard: list[dict[str, Any]]) -> None:
    append("1", "bad")
    sender = RecordingSender()
    sender.rule = failing(FailureKind.PERMANENT, code="INVALID_RECORD", payload="bad")

    drain(sender)

    sent = next(each for each in heard if each["signal"] is signals.message_sent)
    assert (sent["bus"], sent["using"], sent["count"]) == ("default", "default", 1)
    dead = next(each for each in heard if each["signal"] is signals.message_dead_lettered)
    assert (dead["error"], dead["handler"], dead["attempt"]) == ("INVALID_RECORD", "", 1)
    assert dead["envelope"].event_name == "t.placed"
    assert dead["dead_letter_id"] == DeadLetter.objects.get().pk
    states = [each["state"] for each in heard if each["signal"] is signals.relay_state_changed]
    assert states == [RelayState.ACTIVE, RelayState.STOPPED]


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        (FailureKind.TRANSPORT_DOWN, "_PURGE_QUEUE", "broker unreachable (_PURGE_QUEUE)"),
        (FailureKind.PRODUCER_FAULT, "_FENCED", "broker refuses this producer (_FENCED)"),
        (FailureKind.NOT_SENT, "not_delivered_yet", "nothing gets through (not_delivered_yet)"),
    ],
)
def test_an_outage_is_told_once_in_words_and_its_end_too(
    heard: list[dict[str, Any]], kind: FailureKind, code: str, words: str
) -> None:
    append("1")
    sender = RecordingSender()
    sender.rule = failing(kind, code=code)

    with relaying(sender):
        eventually(lambda: len(sender.batches) >= 3)
        sender.rule = lambda row: None
        eventually(lambda: sender.payloads == ["1"])

    told = [(each["state"], each["reason"]) for each in heard if each["signal"] is signals.relay_state_changed]
    assert told == [
        (RelayState.ACTIVE, ""),
        (RelayState.BACKING_OFF, words),
        (RelayState.ACTIVE, ""),
        (RelayState.STOPPED, ""),
    ]


def test_a_step_that_crashes_is_repeated_with_a_new_sender() -> None:
    append("1")
    first, second = RecordingSender(), RecordingSender()
    first.error = RuntimeError("a mistake of ours")
    senders = iter([first, second])

    report = Relay(bus_config(), lambda: next(senders)).run(threading.Event(), until_empty=True, timeout=10)

    assert report.is_empty
    assert first.is_closed
    assert second.payloads == ["1"]


def test_a_relay_that_keeps_crashing_ends_with_the_error() -> None:
    append("1")
    sender = RecordingSender()
    sender.error = RuntimeError("a mistake of ours")

    with pytest.raises(RuntimeError, match="a mistake of ours"):
        drain(sender, timeout=30)

    assert OutboxMessage.objects.count() == 1


def test_a_stopping_relay_finishes_what_is_in_flight() -> None:
    append("1", "2")
    sender = RecordingSender()
    stop = threading.Event()
    sender.on_send = stop.set

    Relay(bus_config(), lambda: sender).run(stop)

    assert sender.payloads == ["1", "2"]
    assert not OutboxMessage.objects.exists()


def test_a_step_whose_time_is_over_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    append("1")
    sender = RecordingSender()
    monkeypatch.setattr(relay, "BUDGET", 0.0)

    drain(sender, timeout=0.5)

    assert not sender.batches
    assert OutboxMessage.objects.count() == 1


def test_idle_work_is_called_between_steps_and_says_when_it_is_due_again() -> None:
    called = threading.Semaphore(0)

    def work() -> float:
        called.release()
        return 0.01

    with relaying(RecordingSender(), idle_work=work):
        for _ in range(5):
            assert called.acquire(timeout=5)


def test_waking_an_idle_relay_makes_it_look_at_once() -> None:
    sender = RecordingSender()

    with relaying(sender, bus_config(wake_with="thread", grace=timedelta(seconds=30))) as running:
        eventually(lambda: running._idle_pause == 1.0)
        append("1")
        running.wake()
        assert sender.has_sent.wait(0.5)


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def test_a_failure_of_every_kind_in_one_batch_goes_its_own_way() -> None:
    kinds = {
        "down": Failure(FailureKind.TRANSPORT_DOWN, "_TIMED_OUT"),
        "dead": Failure(FailureKind.PERMANENT, "INVALID_RECORD"),
        "key": Failure(FailureKind.OTHER, "UNKNOWN"),
        "behind": Failure(FailureKind.NOT_SENT, "NOT_PRODUCED"),
    }
    for name in (*kinds, "fine"):
        append(name, key=name)
    append("topic", key="t", topic="gone")
    sender = RecordingSender()
    sender.rule = lambda row: (
        Failure(FailureKind.TOPIC, "UNKNOWN_TOPIC") if row[1] == "gone" else kinds.get((row[2] or b"").decode())
    )

    Relay(bus_config(), lambda: sender).run(threading.Event(), once=True)

    assert sender.payloads == ["fine"]
    assert {bytes(message.payload) for message in OutboxMessage.objects.all()} == {b"down", b"behind"}
    assert {bytes(message.payload) for message in ParkedMessage.objects.all()} == {b"key", b"topic"}
    assert {bytes(letter.payload or b"") for letter in DeadLetter.objects.all()} == {b"dead"}
