"""Lanes keep the order of a key whatever is taken, released and dropped; positions never pass what is open."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from django_eventbus.consumer.lanes import Lanes
from django_eventbus.consumer.offsets import Positions

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 1), st.integers(0, 3)),
        st.tuples(st.just("take"), st.integers(1, 5), st.integers(1, 3)),
        st.tuples(st.just("release"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("drop"), st.integers(0, 1), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS)
def test_each_key_runs_in_order_and_never_twice_at_a_time(steps: list[tuple[str, int, int]]) -> None:
    lanes: Lanes[int] = Lanes()
    out: list[tuple[int, int, list[int]]] = []  # generation of the partition, key, items
    generation = [0, 1]
    queued: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, (step, first, second) in enumerate(steps):
        if step == "add":
            lanes.add(number, partition=generation[first], key=second)
            queued[generation[first], second].append(number)
        elif step == "take":
            for partition, key, items in lanes.take(first, takers=second):
                assert isinstance(partition, int)
                assert isinstance(key, int)
                assert all((partition, key) != (p, k) for p, k, _ in out)
                assert items == queued[partition, key][: len(items)]
                del queued[partition, key][: len(items)]
                out.append((partition, key, items))
        elif step == "drop":
            lanes.drop(generation[first])
            queued = defaultdict(list, {at: items for at, items in queued.items() if at[0] != generation[first]})
            generation[first] += 2
        elif out:
            partition, key, _ = out.pop(first % len(out))
            lanes.release(partition, key)
        busy = {(partition, key) for partition, key, _ in out}
        assert len(lanes) == sum(map(len, queued.values()))
        assert lanes.ready == sum(len(items) for at, items in queued.items() if at not in busy)
        assert lanes.out == len(out)
        assert all(lanes.is_busy(partition) == any(p == partition for p, _, _ in out) for partition in generation)


def test_a_taker_leaves_their_share_to_the_others() -> None:
    lanes: Lanes[int] = Lanes()
    for number in range(10):
        lanes.add(number, partition=0, key=number)

    sizes = [sum(len(items) for _, _, items in lanes.take(50, takers=takers)) for takers in (4, 3, 2, 1)]

    assert sizes == [3, 3, 2, 2]


def test_what_is_put_first_runs_first() -> None:
    lanes: Lanes[str] = Lanes()
    lanes.add("message", partition=0, key="a")
    lanes.add_first("older", partition=0, key="b")
    lanes.add_first("oldest", partition=0, key="a")

    taken = lanes.take(9)

    assert taken == [(0, "b", ["older"]), (0, "a", ["oldest", "message"])]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.randoms())
def test_the_mark_rises_to_the_first_open_offset(gaps: list[int], random: object) -> None:
    offsets, at = [], 10
    for gap in gaps:
        at += gap
        offsets.append(at)
    positions = Positions(10)
    for offset in offsets:
        assert positions.receive(offset)
    order = list(offsets)
    random.shuffle(order)  # type: ignore[attr-defined]
    done: set[int] = set()
    for offset in order:
        positions.finish(offset)
        done.add(offset)
        still_open = [other for other in offsets if other not in done]
        below = [other for other in offsets if not still_open or other < still_open[0]]
        assert positions.low_water == (below[-1] + 1 if below else 10)
        assert positions.open() == len(still_open)


def test_an_offset_that_comes_again_is_not_received() -> None:
    positions = Positions(5)

    assert not positions.receive(4)
    assert positions.receive(7)
    assert not positions.receive(7)


def test_the_end_counts_only_when_nothing_is_open() -> None:
    positions = Positions(5)
    positions.receive(5)

    positions.skip_to(9)
    assert positions.low_water == 5
    positions.finish(5)
    positions.skip_to(9)

    assert positions.low_water == 9
