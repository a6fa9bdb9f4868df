"""Keys of different values differ, and the sender's client takes them where our own hash says."""

from __future__ import annotations

from dataclasses import make_dataclass
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from django_eventbus.conf.sections import SHARDS
from django_eventbus.events.keys import EventKey, join_key, key_text, murmur2, shard_of
from tests.events.conftest import Bus

texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("|\\"), max_size=8)
scalars = texts | st.integers() | st.uuids() | st.booleans() | st.none() | st.dates() | st.decimals(allow_nan=False)


@given(st.data(), st.integers(2, 5))
def test_tuples_of_different_texts_never_give_one_key(data: st.DataObject, size: int) -> None:
    one, other = (data.draw(st.lists(texts, min_size=size, max_size=size)) for _ in range(2))
    assume(one != other)

    assert join_key(one, escape=True).encode() != join_key(other, escape=True).encode()


@given(st.lists(texts, min_size=2, max_size=5))
def test_what_is_joined_can_be_told_apart_again(parts: list[str]) -> None:
    joined = join_key(parts, escape=True)

    found, current, letters = [], "", iter(joined)
    for letter in letters:
        if letter == "|":
            found.append(current)
            current = ""
        else:
            current += next(letters) if letter == "\\" else letter

    assert [*found, current] == parts


@given(scalars)
def test_any_value_has_a_text_and_always_the_same(value: Any) -> None:
    assert key_text(value) == key_text(value)
    assert isinstance(key_text(value), str)


@given(st.lists(scalars, min_size=1, max_size=4), st.booleans())
def test_a_declared_key_is_made_of_the_texts_of_its_fields(values: list[Any], escape: bool) -> None:
    names = tuple(f"field{number}" for number in range(len(values)))
    cls = make_dataclass("Event", names)

    key = EventKey(cls, names)(cls(*values), Bus(escape_keys=escape))

    assert key == (key_text(values[0]) if len(values) == 1 else join_key(values, escape=escape))


@given(st.binary(max_size=300))
def test_a_shard_is_one_of_them_and_says_nothing_but_the_hash(key: bytes) -> None:
    assert shard_of(key) == (murmur2(key) & 0x7FFFFFFF) % SHARDS
    assert 0 <= murmur2(key) < 2**32


@given(st.binary(max_size=40))
def test_the_hash_is_the_one_that_kafka_describes(key: bytes) -> None:
    assert murmur2(key) == murmur2_by_the_book(key)


def murmur2_by_the_book(data: bytes) -> int:
    """Follow org.apache.kafka.common.utils.Utils.murmur2 line by line."""
    mask, m, r, length = 0xFFFFFFFF, 0x5BD1E995, 24, len(data)
    h = 0x9747B28C ^ length
    for index in range(length // 4):
        k = int.from_bytes(data[index * 4 : index * 4 + 4], "little")
        k = k * m & mask
        k ^= k >> r
        k = k * m & mask
        h = (h * m & mask) ^ k
    rest = length & ~3
    for extra in range(length % 4 - 1, -1, -1):
        h ^= data[rest + extra] << 8 * extra
        if extra == 0:
            h = h * m & mask
    h ^= h >> 13
    h = h * m & mask
    return h ^ h >> 15
