"""Lanes and inbox keys are equal only for equal things, and never change: rows are found by them."""

from __future__ import annotations

import hashlib
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from django_eventbus.events.identifiers import MonotonicUuid7
from django_eventbus.models.inbox import FOREIGN, inbox_key, position_key
from django_eventbus.models.retry import lane_of

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=4)
lanes = st.tuples(names, names, names, st.binary(max_size=4))
deliveries = st.tuples(names, names, names)
OWN = "01990000-0000-7000-8000-000000000001"


def test_the_names_never_change() -> None:
    assert lane_of("shop-dev", "billing.issue_invoice", "dev.shop.public.orders.v1", b"42") == UUID(
        "764fa7a9-943a-68da-83df-b6f404465fcf"
    )
    assert lane_of("g", "h", "t", b"") == UUID("8742bada-e796-090d-0da3-5cce8752887a")
    assert inbox_key("billing.issue_invoice", "/shop/orders", OWN) == UUID("01990000-0000-37d0-279b-acee11076e15")
    assert inbox_key("billing.issue_invoice", "/shop/orders", "7") == UUID("d845e0d2-8635-73ed-1191-f71428d3562b")
    assert position_key("g", "t", 3, 41, content=b"{") == UUID("eed9824d-156a-f5df-b846-4de03f66bf79")


@given(lanes, lanes)
def test_lanes_are_equal_exactly_for_equal_handlers_and_keys(
    one: tuple[str, str, str, bytes], other: tuple[str, str, str, bytes]
) -> None:
    assert (lane_of(*one) == lane_of(*other)) == (one == other)
    assert lane_of(*one) == lane_of(*one)


@given(lanes)
def test_a_lane_is_the_hash_that_the_protocol_names(lane: tuple[str, str, str, bytes]) -> None:
    *texts, key = lane
    plain = b"".join(text.encode() + b"\0" for text in texts) + key

    assert lane_of(*lane).bytes == hashlib.blake2b(plain, digest_size=16).digest()


@given(deliveries, deliveries)
def test_inbox_keys_are_equal_exactly_for_equal_deliveries(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    assert (inbox_key(*one) == inbox_key(*other)) == (one == other)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.uuids().map(str))
def test_an_id_of_any_form_has_a_key_and_only_our_own_kind_is_kept_apart(message_id: str) -> None:
    key = inbox_key("h", "/s", message_id)

    try:
        is_ours = len(message_id) == 36 and message_id[14] == "7" and UUID(message_id) is not None
    except ValueError:
        is_ours = False
    assert bool(key.int & FOREIGN) != is_ours


@given(st.lists(st.integers(1, 2**47 - 1), min_size=2, max_size=8, unique=True))
def test_keys_of_our_own_ids_sort_by_their_time(milliseconds: list[int]) -> None:
    clock = iter(sorted(milliseconds))
    made = MonotonicUuid7(clock=lambda: next(clock) * 1_000_000)

    keys = [inbox_key("h", "/s", str(made())) for _ in milliseconds]

    assert keys == sorted(keys)
    assert [key.int >> 80 for key in keys] == sorted(milliseconds)
