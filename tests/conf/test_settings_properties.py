"""Whatever stands in EVENTBUS: it becomes a config, or an error that names the place and shows the value."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_eventbus.conf import BusConfig, load, problems
from django_eventbus.conf.loading import SECTIONS, fields_of
from django_eventbus.exceptions import ConfigurationError


def is_key(value: Any) -> bool:
    try:
        return hash(value) is not None
    except (TypeError, ValueError):
        return False


NAMES = sorted({*fields_of(BusConfig), *SECTIONS, *(name for kind in SECTIONS.values() for name in fields_of(kind))})
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, 1, -1, 64, 10**400, -(10**400), 2**63]),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.timedeltas(),
    st.sampled_from(["kafka", "local", "skip", "binary", "default", "a.b", "\ud800"]),
    st.sampled_from([timedelta.max, timedelta.min, Decimal("NaN"), object, print, float("nan"), 1j]),
)
keys = st.text(max_size=5) | scalars.filter(is_key)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(NAMES) | st.sampled_from(NAMES).map(str.lower) | st.text(max_size=6) | st.integers()
sections = st.dictionaries(names, values, max_size=5)
buses = st.dictionaries(names, values | sections, max_size=6)
aliases = st.sampled_from(["default", "other", "default:local", ""]) | keys
settings_of_any_kind = st.dictionaries(aliases, buses | values, max_size=3) | values


def refusal_of(raw: Any) -> str | None:
    """Load settings; return what they were refused with, None where they are configs."""
    try:
        configs = load(raw)
    except ConfigurationError as exc:
        return str(exc)
    assert all(config.alias == alias for alias, config in configs.items())
    assert "default" in configs
    return None


EXTREMES = [
    *(None, True, -1, 0, 1, 2**63, 10**400, -(10**400), 1e-300, 1e300, float("inf"), float("nan"), timedelta.max),
    *(timedelta.min, timedelta(0), "", " ", "\x00", "\ud800", b"x", [], [[]], [None], (1e400,), {}, {"a": 1}, {1: 1}),
    *(Decimal("NaN"), object(), print, 1j, "a" * 10_000),
]
PLACES = [("", name) for name in fields_of(BusConfig)] + [
    (s, n) for s, kind in SECTIONS.items() for n in fields_of(kind)
]


@pytest.mark.parametrize(("section", "name"), PLACES)
def test_no_extreme_value_is_anything_but_taken_or_refused(section: str, name: str) -> None:
    for value in EXTREMES:
        bus = {section: {name: value}} if section else {name: value}

        refusal = refusal_of({"default": bus})

        assert refusal is None or name in refusal


@given(settings_of_any_kind)
def test_anything_is_a_config_or_an_error_that_names_its_place(raw: Any) -> None:
    refusal = refusal_of(raw)

    assert refusal is None or refusal.startswith("EVENTBUS")


@given(section=st.sampled_from([None, *SECTIONS]), name=names, value=values)
def test_one_wrong_value_is_named_with_its_path(section: str | None, name: Any, value: Any) -> None:
    bus = {name: value} if section is None else {section: {name: value}}
    path = "EVENTBUS['default']" if section is None else f"EVENTBUS['default'][{section!r}]"

    found = [problem for problem in problems({"default": bus}) if problem.severity.value == "error"]

    known = {*fields_of(BusConfig), *SECTIONS} if section is None else {*fields_of(SECTIONS[section])}
    if name not in known:
        assert [problem.path for problem in found] == [f"{path}[{name!r}]"]
    for problem in found:
        assert str(problem).startswith(problem.path)
        assert re.match(r"EVENTBUS\['default'\]", problem.path)
