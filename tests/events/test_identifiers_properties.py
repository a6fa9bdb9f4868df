"""Ids rise, whatever the clock does and however many threads ask."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from django_eventbus.events.identifiers import MonotonicUuid7

MILLISECOND = 1_000_000
clocks = st.lists(st.integers(0, 5_000).map(lambda passed: (1_700_000_000_000 + passed) * MILLISECOND), min_size=1)


@given(clocks)
def test_ids_rise_whatever_the_clock_does(moments: list[int]) -> None:
    clock = iter(moments)
    made = MonotonicUuid7(clock=lambda: next(clock))

    ids = [made() for _ in moments]

    assert all(earlier < later for earlier, later in pairwise(ids))
    assert all((found.version, found.variant) == (7, UUID(int=2 << 62 | 7 << 76).variant) for found in ids)
    assert [found.int >> 80 for found in ids] == [max(moments[: n + 1]) // MILLISECOND for n in range(len(moments))]


@given(st.integers(0, 2**42 - 1), st.integers(1, 5))
def test_a_full_counter_takes_the_next_millisecond(start: int, count: int) -> None:
    made = MonotonicUuid7(clock=lambda: 5 * MILLISECOND)
    first = made()
    made._counter = start

    ids = [made() for _ in range(count)]

    assert all(earlier < later for earlier, later in pairwise(ids))
    assert {found.int >> 80 for found in ids} <= {5, 6}
    assert first.int >> 80 == 5


@given(st.integers(2, 6), st.integers(1, 200))
def test_ids_of_threads_differ_and_rise_within_each(threads: int, count: int) -> None:
    made = MonotonicUuid7(clock=lambda: 7 * MILLISECOND)

    with ThreadPoolExecutor(threads) as pool:
        batches = list(pool.map(lambda _: [made() for _ in range(count)], range(threads)))

    assert all(batch == sorted(batch) for batch in batches)
    assert len({found for batch in batches for found in batch}) == threads * count
