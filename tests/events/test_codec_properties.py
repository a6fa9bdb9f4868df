"""Events of any types and values survive their JSON, and what is not encoded is refused."""

from __future__ import annotations

import dataclasses
import enum
import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from django_eventbus.events.codec import Codec
from django_eventbus.events.contract import AwareDatetime, event
from django_eventbus.events.registry import events
from django_eventbus.exceptions import EventInvalid, Undecodable

Typed = tuple[Any, st.SearchStrategy[Any]]  # an annotation, and values of it
LIST: Any = list  # their items are known when the tests run
TUPLE: Any = tuple
DICT: Any = dict


class Size(enum.StrEnum):
    SMALL = "small"
    LARGE = "large"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


texts = st.text(st.characters(exclude_categories=["Cs"]))
zones = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(
    lambda away: timezone(away - away % timedelta(minutes=1))
)
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC) | zones)  # noqa: DTZ001
SCALARS: list[Typed] = [
    (str, texts),
    (int, st.integers(-(2**63), 2**64 - 1)),
    (bool, st.booleans()),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bytes, st.binary()),
    (UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (date, st.dates()),
    (AwareDatetime, moments),
    (Size, st.sampled_from(Size)),
    (Level, st.sampled_from(Level)),
]


def optional(inner: Typed) -> Typed:
    return inner[0] | None, st.none() | inner[1]


def list_of(inner: Typed) -> Typed:
    return LIST[inner[0]], st.lists(inner[1], max_size=3)


def pair_of(inner: Typed) -> Typed:
    return TUPLE[inner[0], inner[0]], st.tuples(inner[1], inner[1])


def by_name(inner: Typed) -> Typed:
    return DICT[str, inner[0]], st.dictionaries(texts, inner[1], max_size=3)


def nested(inner: Typed) -> Typed:
    made = dataclasses.make_dataclass("Nested", [("inner", inner[0])], frozen=True)
    return made, st.builds(made, inner[1])


types: st.SearchStrategy[Typed] = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.one_of([inner.map(kind) for kind in (optional, list_of, pair_of, by_name, nested)]),
    max_leaves=4,
)


def declared(found: list[Typed]) -> tuple[type[Any], Codec]:
    namespace = {"__annotations__": {f"field{number}": kind for number, (kind, _) in enumerate(found)}}
    with events.isolated():
        cls: type[Any] = event("shop.anything", entity="thing")(type("Anything", (), namespace))
        return cls, events.contract_of(cls).codec


@given(st.data(), st.lists(types, max_size=5))
def test_an_event_of_any_types_survives_its_json(data: st.DataObject, found: list[Typed]) -> None:
    cls, codec = declared(found)
    made = cls(**{f"field{number}": data.draw(values) for number, (_, values) in enumerate(found)})

    encoded = codec.encode(made)

    assert codec.decode(encoded) == made
    assert codec.encode(codec.decode(encoded)) == encoded
    assert json.loads(encoded).keys() == {field.name for field in dataclasses.fields(cls)}


@given(st.data(), st.lists(types, min_size=1, max_size=4), st.dictionaries(texts, texts, max_size=3))
def test_what_others_add_is_ignored_and_what_they_leave_out_is_missed(
    data: st.DataObject, found: list[Typed], more: dict[str, str]
) -> None:
    cls, codec = declared(found)
    made = cls(**{f"field{number}": data.draw(values) for number, (_, values) in enumerate(found)})
    sent = json.loads(codec.encode(made))

    assert codec.decode(json.dumps({**more, **sent}, ensure_ascii=False).encode()) == made

    sent.pop(data.draw(st.sampled_from(sorted(sent))))
    assert refusal_of(codec, json.dumps(sent).encode()).startswith("invalid_data: Object missing required field")


@given(st.lists(types, min_size=1, max_size=3), st.binary(max_size=60) | texts.map(str.encode))
def test_any_bytes_are_an_event_or_undecodable(found: list[Typed], data: bytes) -> None:
    cls, codec = declared(found)

    assert isinstance(codec.decode(data), cls) if not (reason := refusal_of(codec, data)) else reason


@given(st.lists(types, min_size=1, max_size=3), st.data())
def test_a_value_of_another_type_is_refused_or_comes_back_as_it_was(found: list[Typed], data: st.DataObject) -> None:
    cls, codec = declared(found)
    wrong = data.draw(st.one_of([values for _, values in SCALARS]) | st.floats() | st.just(object()) | st.just({1j}))
    made = cls(**{f"field{number}": wrong for number in range(len(found))})

    try:
        encoded = codec.encode(made)
    except EventInvalid as exc:
        refused = exc.errors
    else:
        refused = ()
        assert codec.encode(codec.decode(encoded)) == encoded

    assert all(text.startswith("field") for text in refused)


def refusal_of(codec: Codec, data: bytes) -> str:
    try:
        codec.decode(data)
    except Undecodable as exc:
        return str(exc)
    return ""
