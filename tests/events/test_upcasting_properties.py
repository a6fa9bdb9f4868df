"""A chain of upcasters does what its steps do one after the other, from whatever version it begins."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_eventbus.events.contract import event
from django_eventbus.events.registry import events, upcaster
from django_eventbus.events.upcasting import Upcast, Upcasters, upcast, version_order
from django_eventbus.exceptions import Undecodable, UndecodableReason

version_sets = st.lists(st.integers(1, 30), min_size=2, max_size=8, unique=True).map(sorted)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=6,
)


def noting(version: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def step(payload: dict[str, Any]) -> dict[str, Any]:
        return {**payload, "path": [*payload["path"], version]}

    return step


@given(version_sets, st.data())
def test_every_version_comes_to_the_newest_by_all_steps_behind_it(found: list[int], data: st.DataObject) -> None:
    *old, newest = found
    order, start = data.draw(st.permutations(old)), data.draw(st.sampled_from(found))
    with events.isolated():

        @event("shop.counted", version=newest, entity="count")
        class Counted:
            path: list[int]

        for version in order:
            upcaster(Counted, from_version=version)(noting(version))

        decoded = events.decode("shop.counted", str(start), b'{"path": []}')

        assert decoded == Counted(path=[version for version in old if version >= start])
        with pytest.raises(Undecodable) as caught:
            events.decode("shop.counted", str(newest + 1), b'{"path": []}')
        assert caught.value.reason is UndecodableReason.MISSING_UPCASTER


@given(st.lists(st.integers(1, 5), max_size=4), st.dictionaries(st.text("xyz", max_size=3), json_values))
def test_a_chain_is_the_composition_of_its_steps(added: list[int], payload: dict[str, Any]) -> None:
    steps: list[Upcast] = [lambda given, number=number: {**given, "n": given.get("n", 0) + number} for number in added]  # type: ignore[misc]
    payload.pop("n", None)

    chained = json.loads(upcast(json.dumps(payload).encode(), steps))

    one_by_one = json.dumps(payload).encode()
    for step in steps:
        one_by_one = upcast(one_by_one, [step])
    assert chained == json.loads(one_by_one) == ({**payload, "n": sum(added)} if added else payload)


@given(st.dictionaries(st.integers(1, 9), st.integers(1, 10), max_size=6), st.integers(1, 10), st.integers(1, 10))
def test_a_path_leads_from_the_version_to_its_target_or_there_is_none(
    leads: dict[int, int], start: int, target: int
) -> None:
    upcasters = Upcasters()
    for source, goal in leads.items():
        if goal > source:
            upcasters.add(lambda payload: payload, from_version=source, target=str(goal))

    path = upcasters.path(str(start), target=str(target))

    assert path is None or len(path) <= len(leads)
    assert (path == ()) == (start == target)


@given(st.lists(st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}", fullmatch=True), max_size=6))
def test_versions_sort_as_people_read_them(versions: list[str]) -> None:
    ordered = sorted(versions, key=version_order)

    assert [tuple(map(int, version.split("."))) for version in ordered] == sorted(
        tuple(map(int, version.split("."))) for version in versions
    )
