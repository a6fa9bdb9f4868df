from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_eventbus.events.plurals import pluralize


@pytest.mark.parametrize(
    ("singular", "plural"),
    [
        ("box", "boxes"),
        ("bus", "buses"),
        ("glass", "glass"),
        ("class", "classes"),
        ("data", "data"),
        ("city", "cities"),
        ("key", "keys"),
        ("wolf", "wolves"),
        ("roof", "roofs"),
        ("staff", "staff"),
        ("hero", "heroes"),
        ("photo", "photos"),
        ("person", "people"),
        ("index", "indices"),
        ("octopus", "octopuses"),
        ("customer", "customers"),
        ("address", "addresses"),
        ("status", "statuses"),
        ("analysis", "analyses"),
        ("alias", "aliases"),
        ("epoch", "epochs"),
        ("branch", "branches"),
    ],
)
def test_plural_of_a_word(singular: str, plural: str) -> None:
    assert pluralize(singular) == plural


@pytest.mark.parametrize("plural", ["orders", "photos", "boxes", "people", "menus-and-orders", "schemas"])
def test_plurals_stay_as_they_are(plural: str) -> None:
    assert pluralize(plural) == plural


@pytest.mark.parametrize(
    ("name", "plural"), [("user-child", "user-children"), ("bus-stop", "bus-stops"), ("data-key", "data-keys")]
)
def test_only_the_last_word_of_a_kebab_name_changes(name: str, plural: str) -> None:
    assert pluralize(name) == plural


@pytest.mark.parametrize(("name", "plural"), [("Person", "People"), ("ORDER", "ORDERS"), ("City", "Cities")])
def test_case_is_kept(name: str, plural: str) -> None:
    assert pluralize(name) == plural


@given(st.from_regex(r"[a-z]{2,12}(-[a-z]{2,12}){0,2}", fullmatch=True))
def test_a_plural_keeps_everything_before_the_last_word(name: str) -> None:
    assert pluralize(name).startswith(name.rpartition("-")[0])


def test_nothing_has_no_plural() -> None:
    assert pluralize("") == ""
