"""Whatever somebody writes to a topic, it is classified and kept, and the consumer goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from django_eventbus.models import DeadLetter, RetryMessage
from django_eventbus.models.dead_letter import unpack_headers
from tests.conformance.happenings import Counted, noted, noting
from tests.conformance.world import Headers, KafkaMedium, World

GOOD: dict[str, bytes | None] = {
    "ce_specversion": b"1.0",
    "ce_id": b"some id",
    "ce_type": b"tests.conformance.counted",
    "ce_source": b"/elsewhere",
    "ce_eventversion": b"1",
    "content-type": b"application/json",
}
DATA = b'{"key": "x", "number": 1}'
STRUCTURED = {"content-type": b"application/cloudevents+json"}


def headers(*more: tuple[str, bytes | None], without: str = "", **changed: bytes | None) -> Headers:
    """Return good headers but for what is said; `id=b"..."` changes `ce_id`."""
    changes = {name if name == "content-type" else f"ce_{name}": value for name, value in changed.items()}
    return [pair for pair in (GOOD | changes).items() if pair[0] != without] + list(more)


def typed(content_type: bytes) -> Headers:
    return [*headers(without="content-type"), ("content-type", content_type)]


BAD: dict[str, tuple[str, Headers, bytes]] = {
    "no headers at all": ("not_cloudevent", [], b"plain text"),
    "headers of somebody else": ("not_cloudevent", [("x-type", b"order")], DATA),
    "empty value without headers": ("not_cloudevent", [], b""),
    "no id": ("missing_attribute", headers(without="ce_id"), DATA),
    "no type": ("missing_attribute", headers(without="ce_type"), DATA),
    "no source": ("missing_attribute", headers(without="ce_source"), DATA),
    "no specversion": ("missing_attribute", headers(without="ce_specversion"), DATA),
    "id is null": ("bad_attribute", headers(id=None), DATA),
    "id is empty": ("bad_attribute", headers(id=b""), DATA),
    "id is not UTF-8": ("bad_encoding", headers(id=b"\xff\xfe"), DATA),
    "id twice": ("duplicate_header", headers(("ce_id", b"another")), DATA),
    "content-type twice": ("duplicate_header", headers(("content-type", b"text/plain")), DATA),
    "older specversion": ("bad_specversion", headers(specversion=b"0.3"), DATA),
    "newer specversion": ("bad_specversion", headers(specversion=b"2.0"), DATA),
    "time that is none": ("bad_attribute", headers(time=b"yesterday"), DATA),
    "extension with an impossible name": ("bad_attribute", headers(("ce_Not-Legal", b"1")), DATA),
    "not JSON": ("invalid_json", headers(), b"{"),
    "not UTF-8": ("bad_encoding", headers(), b'{"key": "\xff"}'),
    "empty value": ("invalid_json", headers(), b""),
    "JSON of another shape": ("invalid_data", headers(), b"[1, 2]"),
    "missing field": ("invalid_data", headers(), b'{"key": "x"}'),
    "field of another type": ("invalid_data", headers(), b'{"key": "x", "number": "one"}'),
    "number beyond the database's": ("", headers(id=b"large"), b'{"key": "x", "number": 99999999999999999999}'),
    "version that nobody knows": ("missing_upcaster", headers(eventversion=b"9"), DATA),
    "Avro": ("unsupported_content_type", typed(b"application/avro"), b"\x00\x01\x02"),
    "structured, not JSON": ("invalid_json", list(STRUCTURED.items()), b"<event/>"),
    "structured, no attributes": ("missing_attribute", list(STRUCTURED.items()), b"{}"),
    "structured, wrong specversion": (
        "bad_specversion",
        list(STRUCTURED.items()),
        json.dumps({"specversion": "0.3", "id": "1", "type": "t", "source": "/s"}).encode(),
    ),
    "nested too deep": (
        "too_deep",
        headers(),
        b'{"key": "x", "number": 1, "more": ' + b"[" * 9999 + b"]" * 9999 + b"}",
    ),
}
EXTRA = b'{"key": "x", "number": 2, "colour": {"shade": ["blue"]}}'


@pytest.fixture
def world(open_world: Callable[..., World], kafka: str, make_topic: Any) -> World:
    return open_world(KafkaMedium(kafka, make_topic))


def test_each_bad_record_is_kept_with_its_exact_bytes_and_the_others_are_handled(world: World) -> None:
    noting("tests.note")
    world.start()
    topic = world.topic(Counted)

    for name, (_, sent, value) in BAD.items():
        world.inject(topic, key=name.encode(), value=value, headers=sent)
    world.inject(topic, key=b"deleted", value=None, headers=headers())
    world.inject(topic, key=b"extra", value=EXTRA, headers=headers())
    for number in range(10):
        world.publish(Counted(key=str(number), number=number))

    world.wait_until(lambda: len(noted("tests.note")) >= 11 and DeadLetter.objects.count() >= len(BAD))
    letters = {bytes(letter.key or b"").decode(): letter for letter in DeadLetter.objects.all()}
    assert letters.keys() == BAD.keys()
    assert {name: letter.exception_message.partition(":")[0] for name, letter in letters.items() if BAD[name][0]} == {
        name: reason for name, (reason, _, _) in BAD.items() if reason
    }
    for name, (_, sent, value) in BAD.items():
        letter = letters[name]
        assert letter.payload is not None, name
        assert bytes(letter.payload) == value, name
        assert unpack_headers(bytes(letter.headers)) == list(sent), name
        assert (letter.direction, letter.topic, letter.status) == ("in", topic, "dead"), name
    assert noted("tests.note", "x") == [2]
    assert not RetryMessage.objects.exists()


def test_payloads_of_the_brokers_maximum_size_are_handled_or_kept(
    open_world: Callable[..., World], kafka: str, make_topic: Any
) -> None:
    limits = {"OUTBOX": {"MAX_EVENT_BYTES": 1_040_000}, "PRODUCER_OPTIONS": {"message.max.bytes": 1_048_588}}
    world = open_world(KafkaMedium(kafka, make_topic), **limits)
    noted_sizes: list[int] = []
    noting("tests.note", then=lambda event, context: noted_sizes.append(len(event.note)))
    world.start()
    largest = os.urandom(1_048_000)  # with its frame just below the broker's default of 1,048,588 bytes
    note = os.urandom(519_000).hex()

    world.inject(world.topic(Counted), key=b"large", value=largest)
    world.publish(Counted(key="a", number=1, note=note))

    world.wait_until(lambda: noted("tests.note") and DeadLetter.objects.exists())
    letter = DeadLetter.objects.get()
    assert bytes(letter.payload or b"") == largest
    assert letter.exception_message.startswith("not_cloudevent:")
    assert noted_sizes == [len(note)]
