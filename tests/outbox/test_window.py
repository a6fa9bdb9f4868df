from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from django_eventbus.outbox import window
from django_eventbus.outbox.window import MOST_RANGES, Candidate, Window

LIMIT = 2


@dataclass
class Outbox:
    """A table whose ids commit in any order, or never; each writer holds the table's lock from before its first id."""

    last_id: int = 0
    visible: set[int] = field(default_factory=set)
    writers: dict[str, list[int]] = field(default_factory=dict)
    sent: list[int] = field(default_factory=list)
    committed: list[int] = field(default_factory=list)

    def read(self, window: Window) -> list[int]:
        def is_covered(id_: int) -> bool:
            return id_ > window.after or any(first <= id_ <= last for first, last in window.ranges)

        return sorted(filter(is_covered, self.visible))[:LIMIT]


@dataclass
class Reading:
    """The relay's side: as outbox/reader.py does it, without its clock."""

    window: Window = field(default_factory=Window)
    safe: int = 0
    candidate: Candidate | None = None

    def look(self, outbox: Outbox) -> None:
        if self.candidate is None:
            self.candidate = Candidate(id=outbox.last_id, writers=frozenset(outbox.writers))
        else:
            self.candidate = self.candidate.still_written_by(outbox.writers)
        if self.candidate.is_safe:
            self.safe, self.candidate = self.candidate.id, None

    def step(self, outbox: Outbox, acked: frozenset[int], *, is_rescan: bool = False) -> None:
        read = outbox.read(Window() if is_rescan else self.window)
        assert read == sorted(outbox.visible)[:LIMIT], "the window must never hide a row that is not sent"
        gone = [id_ for place, id_ in enumerate(read) if place in acked]
        outbox.visible.difference_update(gone)
        outbox.sent.extend(gone)
        left = [id_ for id_ in read if id_ not in gone]
        self.window = self.window.learn(read, left=left, safe=self.safe, is_cut_off=len(read) == LIMIT)


WRITERS = [f"3/{number}" for number in range(3)]
ACTIONS = st.one_of(
    st.tuples(st.just("draw"), st.sampled_from(WRITERS)),
    st.tuples(st.just("commit"), st.sampled_from(WRITERS)),
    st.tuples(st.just("roll back"), st.sampled_from(WRITERS)),
    st.tuples(st.just("look"), st.none()),
    st.tuples(st.just("step"), st.frozensets(st.integers(0, LIMIT - 1))),
    st.tuples(st.just("step"), st.just(frozenset(range(LIMIT)))),
    st.tuples(st.just("rescan"), st.frozensets(st.integers(0, LIMIT - 1))),
)


def play(actions: list[tuple[str, object]]) -> tuple[Outbox, Reading]:
    outbox, reading = Outbox(), Reading()
    for name, detail in actions:
        match name:
            case "draw":
                outbox.last_id += 1
                outbox.writers.setdefault(str(detail), []).append(outbox.last_id)
            case "commit":
                ids = outbox.writers.pop(str(detail), [])
                outbox.visible.update(ids)
                outbox.committed += ids
            case "roll back":
                outbox.writers.pop(str(detail), None)
            case "look":
                reading.look(outbox)
            case "step" | "rescan":
                assert isinstance(detail, frozenset)
                reading.step(outbox, detail, is_rescan=name == "rescan")
    return outbox, reading


@pytest.mark.parametrize("most_ranges", [1, 3, MOST_RANGES])
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(ACTIONS, max_size=60))
def test_a_window_hides_nothing_whatever_order_ids_commit_in(
    actions: list[tuple[str, object]], most_ranges: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "MOST_RANGES", most_ranges)
    outbox, reading = play(actions)

    for writer in list(outbox.writers):
        outbox.committed += outbox.writers[writer]
        outbox.visible.update(outbox.writers.pop(writer))
    while outbox.visible:
        reading.look(outbox)
        reading.step(outbox, frozenset(range(LIMIT)))

    assert sorted(outbox.sent) == sorted(outbox.committed)


def test_every_short_history_of_two_writers_is_read_in_full() -> None:
    choices: list[tuple[str, object]] = [
        *product(["draw", "commit"], ["a", "b"]),
        ("look", None),
        ("step", frozenset(range(LIMIT))),
    ]

    for actions in product(choices, repeat=6):
        play(list(actions))


def test_the_floor_follows_when_all_writers_have_ended_and_everything_is_sent() -> None:
    outbox, reading = play([("draw", "a"), ("draw", "b"), ("commit", "a"), ("commit", "b"), ("look", None)])

    reading.step(outbox, frozenset(range(LIMIT)))
    reading.step(outbox, frozenset())

    assert reading.window == Window(floor=2, cursor=2)


def test_the_floor_stays_below_an_id_whose_writer_is_open_and_only_its_range_is_read_again() -> None:
    actions: list[tuple[str, object]] = [("draw", "late"), *[("draw", "a")] * 2, ("commit", "a"), ("look", None)]
    outbox, reading = play(actions)

    reading.step(outbox, frozenset(range(LIMIT)))

    assert reading.window == Window(floor=0, cursor=3, ranges=((1, 1),))


def test_a_read_that_was_cut_off_says_nothing_about_ids_behind_its_last_row() -> None:
    learnt = Window().learn([1, 2, 4], left=[], safe=100, is_cut_off=True)

    assert learnt == Window(floor=0, cursor=4)
    assert learnt.after == 4


def test_the_window_never_rises_to_a_safe_id_that_was_learnt_after_a_row_of_the_read() -> None:
    learnt = Window().learn([5, 6], left=[6], safe=50, is_cut_off=False)

    assert learnt.floor == 4
    assert learnt.ranges == ((6, 6),)


def test_rows_that_stay_next_to_each_other_make_one_range() -> None:
    learnt = Window().learn(range(1, 1001), left=range(1, 1001), safe=1000, is_cut_off=True)

    assert learnt.ranges == ((1, 1000),)


def test_with_too_many_ranges_the_reader_walks_from_the_floor() -> None:
    every_second = range(10, 2 * MOST_RANGES + 20, 2)

    learnt = Window().learn(every_second, left=[], safe=5, is_cut_off=False)

    assert learnt == Window(floor=5, cursor=5)


def test_with_too_many_ranges_rows_that_stay_are_still_above_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "MOST_RANGES", 1)

    learnt = Window().learn([2, 4], left=[2, 4], safe=10, is_cut_off=False)

    assert learnt.after == 1


def test_a_row_that_a_rescan_finds_outside_the_window_is_covered_from_then_on() -> None:
    learnt = Window(floor=10, cursor=20, ranges=((15, 15),)).learn([3, 25], left=[3], safe=12, is_cut_off=False)

    assert learnt.ranges == ((3, 3), (15, 15), (21, 24))


def test_a_window_covers_what_a_read_through_it_would_return() -> None:
    learnt = Window(floor=10, cursor=20, ranges=((15, 16),))

    assert [id_ for id_ in range(1, 23) if learnt.covers(id_)] == [15, 16, 21, 22]


def test_a_prepared_transaction_keeps_an_id_unsafe_although_its_name_has_changed() -> None:
    candidate = Candidate(id=7, writers=frozenset({"3/12"}))

    assert not candidate.still_written_by(["-1/754"]).is_safe
    assert candidate.still_written_by(["3/13"]).is_safe
