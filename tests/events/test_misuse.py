"""What a typing mistake in a declaration or a call is told."""

from __future__ import annotations

from typing import Any, cast

import pytest

from django_eventbus import RetryPolicy, event, handler
from django_eventbus.events.registry import events
from django_eventbus.exceptions import ContractError, NotAnEvent


class Plain:
    pass


def handle(_event: object) -> None: ...


def test_a_decorator_without_its_arguments_is_refused_at_once() -> None:
    with pytest.raises(ContractError, match="@event on Plain has no name"):
        cast("Any", event)(Plain)
    with pytest.raises(ContractError, match="@handler on handle names no event"):
        cast("Any", handler)(handle)


def test_one_delay_instead_of_several_is_refused_with_what_to_write() -> None:
    with pytest.raises(ContractError, match=r"Write delays=\(5,\)"):
        RetryPolicy(delays=cast("Any", 5))


def test_a_list_of_events_is_sent_to_publish_many() -> None:
    with pytest.raises(NotAnEvent, match=r"publish_many\(\)"):
        events.contract_of([])
