"""A topic is legal or refused, the same each time, and another one for another version."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from django_eventbus.events.contract import EventContract, event
from django_eventbus.events.naming import colliding_topics, to_kebab, topic_of, topic_problem
from django_eventbus.events.plurals import pluralize
from django_eventbus.events.registry import events
from django_eventbus.exceptions import ContractError
from tests.events.conftest import Bus

NAMERS = ("default_namer", "ServiceAggregateNamer", "ServiceEventNamer")
words = st.from_regex(r"[A-Za-z][A-Za-z0-9 _.-]{0,20}", fullmatch=True) | st.text(min_size=1, max_size=10)
topics = st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True).filter(lambda name: topic_problem(name) is None)
versions: st.SearchStrategy[Any] = st.integers(0, 10**6) | st.from_regex(r"[a-zA-Z0-9._-]{0,8}", fullmatch=True)
domains = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,10}(-[A-Za-z0-9]{1,5}){0,2}", fullmatch=True)
buses = st.builds(
    Bus,
    environment=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,12}", fullmatch=True),
    domain=st.none() | domains,
    namer=st.sampled_from([f"django_eventbus.events.naming.{name}" for name in NAMERS]),
)


def declared(**options: Any) -> EventContract:
    with events.isolated():

        @event("shop.orders.order-placed", **options)
        class OrderPlaced:
            order_id: int

        return events.contract_of(OrderPlaced)


@given(
    place=st.sampled_from(["entity", "topic"]),
    word=words,
    version=versions,
    pluralize=st.sampled_from([None, True, False]),
    internal=st.booleans(),
    bus=buses,
)
def test_any_declaration_has_a_legal_topic_or_is_refused(place: str, word: str, bus: Bus, **options: Any) -> None:
    try:
        contract = declared(**{place: word}, **options)
        topic = topic_of(contract, bus)
    except ContractError:
        return

    assert re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", topic)
    assert topic not in {".", ".."}
    assert topic_of(contract, bus) == topic
    if not word.startswith("/"):
        assert topic == topic.lower()


@given(word=st.from_regex(r"[a-z]{1,12}", fullmatch=True), one=st.integers(0, 99), other=st.integers(0, 99), bus=buses)
def test_another_version_travels_on_another_topic(word: str, one: int, other: int, bus: Bus) -> None:
    assume(one != other and not bus.namer.endswith("ServiceEventNamer"))  # its topics carry every version

    first, second = (topic_of(declared(entity=word, version=version), bus) for version in (one, other))

    assert first != second


@given(one=topics, other=topics, bus=buses)
def test_topics_that_are_given_word_for_word_differ_as_their_words_do(one: str, other: str, bus: Bus) -> None:
    assume(one.lower() != other.lower() and not bus.namer.endswith("ServiceEventNamer"))

    assert topic_of(declared(topic=one), bus) != topic_of(declared(topic=other), bus)


@given(st.lists(st.from_regex(r"[ab._-]{1,4}", fullmatch=True)))
def test_topics_that_kafka_takes_for_one_are_found(names: list[str]) -> None:
    groups = colliding_topics(names)

    for topic in set(names):
        others = {other for other in names if other != topic and other.replace(".", "_") == topic.replace(".", "_")}
        assert any({topic, *others} == set(group) for group in groups) == bool(others)


@given(st.text(max_size=20))
def test_kebab_case_of_any_text_is_stable(name: str) -> None:
    assert to_kebab(to_kebab(name)) == to_kebab(name)


@given(st.from_regex(r"([a-z]{2,8}-)?[a-z]{1,12}", fullmatch=True))
def test_the_plural_of_a_plural_is_itself(name: str) -> None:
    assume(not name.endswith(("u", "i")))  # menus could be one menu, by the look of bus

    assert pluralize(pluralize(name)) == pluralize(name)
