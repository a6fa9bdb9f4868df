"""The offset that is stored never passes a record that is not done, in whatever order records come and end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from django_eventbus.consumer.offsets import Positions

steps = st.lists(
    st.one_of(
        st.tuples(st.just("receive"), st.integers(1, 4)),  # so far behind the last one
        st.tuples(st.just("again"), st.integers(0, 30)),  # a second fetch of something older
        st.tuples(st.just("finish"), st.integers(0, 30)),
        st.tuples(st.just("end"), st.integers(0, 5)),  # the broker says that nothing is below last + so many
    ),
    max_size=80,
)


@given(st.none() | st.integers(0, 1000), steps)
def test_no_unfinished_record_is_ever_passed_and_the_end_is_reached(
    start: int | None, steps: list[tuple[str, int]]
) -> None:
    positions = Positions(start)
    received: list[int] = []
    unfinished: list[int] = []
    last, before = (-1 if start is None else start - 1), start
    for step, number in steps:
        rose = False
        if step == "receive":
            last += number
            assert positions.receive(last)
            received.append(last)
            unfinished.append(last)
        elif step == "again" and received:
            assert not positions.receive(received[number % len(received)])
        elif step == "finish" and unfinished:
            rose = positions.finish(unfinished.pop(number % len(unfinished)))
        elif step == "end" and last >= 0:
            positions.skip_to(last + 1 + number)
            if not unfinished:
                last += number
        mark = positions.low_water
        assert all(mark is not None and mark <= offset for offset in unfinished)
        assert before is None or (mark is not None and mark >= before)
        assert not rose or mark != before
        assert positions.open() == len(unfinished) <= len(positions)
        before = mark

    while unfinished:
        positions.finish(unfinished.pop())

    if received:
        assert positions.low_water is not None
        assert positions.low_water > received[-1]
    assert (len(positions), positions.open()) == (0, 0)
