"""What `@handler` accepts, what it refuses, and how a handler is called and named."""

from __future__ import annotations

import functools
import runpy
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from django_eventbus.delivery.context import MessageContext, make_context
from django_eventbus.delivery.registry import handler, handlers
from django_eventbus.exceptions import ContractError

from .shop import OrderPaid, OrderPlaced


def in_app(function: Any) -> Any:
    """Let a function look as if it stood in the app `shop`."""
    function.__module__ = "tests.shop.handlers"
    return function


def declare(function: Callable[..., Any], *events: type[Any], **options: Any) -> Any:
    return handler(*(events or (OrderPlaced,)), **options)(in_app(function))


def test_the_function_stays_what_it_is() -> None:
    def bill(event: OrderPlaced) -> None: ...

    assert declare(bill) is bill
    assert isinstance(bill, FunctionType)


def test_the_name_is_made_of_app_and_function() -> None:
    def bill(event: OrderPlaced) -> None: ...

    declare(bill)

    found = handlers.find("shop.bill")
    assert found is not None
    assert (found.app_label, found.function, found.events) == ("shop", bill, (OrderPlaced,))


def test_outside_of_an_app_a_name_is_demanded() -> None:
    def bill(event: OrderPlaced) -> None: ...

    with pytest.raises(ContractError, match="Give name="):
        handler(OrderPlaced)(bill)


def test_a_second_function_of_one_name_needs_a_name_of_its_own() -> None:
    def first() -> Any:
        def bill(event: OrderPlaced) -> None: ...

        return bill

    def second() -> Any:
        def bill(event: OrderPaid) -> None: ...

        return bill

    declare(first())

    with pytest.raises(ContractError, match=r"'shop\.bill' belongs to .* Give one of them a name="):
        declare(second(), OrderPaid)

    declare(second(), OrderPaid, name="shop.bill_paid")
    assert len(handlers.all()) == 2


def test_a_module_that_is_imported_again_replaces_its_handlers(tmp_path: Path) -> None:
    source = """
from django_eventbus import handler
from tests.delivery.shop import OrderPaid, OrderPlaced

def make(event, name):
    @handler(event, name=name)
    def made(event): ...

make(OrderPlaced, "shop.first")
make(OrderPaid, "shop.{second}")

@handler(OrderPlaced, name="shop.bill", aliases=("shop.{alias}",))
def bill(event): ...
"""
    module = tmp_path / "handlers.py"

    namespace: dict[str, Any] = {}
    for names in ({"second": "second", "alias": "old"}, {"second": "other", "alias": "older"}):
        module.write_text(source.format(**names))
        namespace = runpy.run_path(str(module))

    assert [found.name for found in handlers.all()] == ["shop.first", "shop.other", "shop.bill"]
    assert handlers.find("shop.old") is None
    found = handlers.find("shop.older")
    assert found is not None
    assert found.function is namespace["bill"]


def test_functions_that_one_function_made_need_names_of_their_own() -> None:
    def make() -> Any:
        def bill(event: Any) -> None: ...

        return bill

    declare(make())

    with pytest.raises(ContractError, match=r"'shop\.bill' belongs to .* Give one of them a name="):
        declare(make(), OrderPaid)
    declare(make(), OrderPaid, name="shop.bill_paid")
    assert [found.name for found in handlers.all()] == ["shop.bill", "shop.bill_paid"]


def test_functions_behind_one_decorator_are_different_ones() -> None:
    def logged(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(event: Any) -> None:
            function(event)

        return wrapper

    @logged
    def bill(event: Any) -> None: ...
    @logged
    def ship(event: Any) -> None: ...

    declare(bill)
    declare(ship)

    assert [found.name for found in handlers.all()] == ["shop.bill", "shop.ship"]


def test_a_function_may_be_several_handlers() -> None:
    def note(event: Any) -> None: ...

    declare(note, name="shop.note_placed")
    declare(note, OrderPaid, name="shop.note_paid")

    assert [found.name for found in handlers.all()] == ["shop.note_placed", "shop.note_paid"]


def test_former_names_find_the_handler_and_cannot_be_taken() -> None:
    def bill(event: OrderPlaced) -> None: ...

    def other(event: OrderPlaced) -> None: ...

    declare(bill, aliases=("shop.invoice",))

    found = handlers.find("shop.invoice")
    assert found is not None
    assert found.names == ("shop.bill", "shop.invoice")
    with pytest.raises(ContractError, match=r"'shop\.invoice' belongs to"):
        declare(other, name="shop.invoice")


def plain(event: Any) -> None: ...


def with_context(event: Any, context: MessageContext) -> None: ...


def with_optional(event: Any, context: MessageContext | None = None) -> None: ...


def with_any(*arguments: Any) -> None: ...


async def asynchronous(event: Any, context: MessageContext) -> None: ...


class Callable_:
    async def __call__(self, event: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "takes_context", "is_async"),
    [
        (plain, False, False),
        (with_context, True, False),
        (with_optional, False, False),
        (with_any, False, False),
        (asynchronous, True, True),
        (functools.partial(with_context, context=make_context()), False, False),
        (Callable_(), False, True),
    ],
)
def test_how_a_function_is_called_is_read_from_its_signature(
    function: Any, takes_context: bool, is_async: bool
) -> None:
    handler(OrderPlaced, name="tests.h")(function)

    (found,) = handlers.all()
    assert (found.takes_context, found.is_async) == (takes_context, is_async)


def nothing() -> None: ...


def three(event: Any, context: Any, more: Any) -> None: ...


def named_only(event: Any, *, extra: Any) -> None: ...


async def async_generator(event: Any) -> AsyncIterator[Any]:
    yield event


@pytest.mark.parametrize("function", [nothing, three, named_only, async_generator])
def test_a_function_that_cannot_be_called_with_an_event_is_refused(function: Any) -> None:
    with pytest.raises(ContractError, match=function.__name__):
        handler(OrderPlaced, name="tests.h")(function)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nmae": "x"}, "Did you mean 'name'"),
        ({"aliases": "x"}, "give a tuple"),
        ({"versions": "1"}, "give a tuple"),
        ({"on_dead_letter": "hold"}, "hold_key"),
        ({"on_dead_letter": "hold_key", "ordered": False}, "ordered=False"),
        ({"idempotent": True, "dedupe_key": str}, "inbox"),
        ({"batch": 0}, "batch=0"),
        ({"batch": True}, "batch=True"),
        ({"timeout": 0}, "timeout=0"),
        ({"handle_in": "dramatiq"}, "give 'celery'"),
        ({"handle_in": "celery", "batch": 5}, "exclude each other"),
        ({"handle_in": "celery", "ordered": True}, "gives up the order"),
        ({"handle_in": "celery", "on_dead_letter": "hold_key"}, "hold_key"),
        ({"name": "two words"}, "name. Write letters"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        handler(OrderPlaced, **{"name": "tests.h", **options})(plain)


def test_a_coroutine_function_is_handed_no_lists() -> None:
    with pytest.raises(ContractError, match=r"asynchronous: .*batch= and async def exclude each other"):
        handler(OrderPlaced, name="tests.h", batch=10)(asynchronous)  # type: ignore[arg-type, type-var]


@pytest.mark.parametrize("events", [(), (plain,), (int,), (OrderPlaced, str)])
def test_only_events_can_be_handled(events: Any) -> None:
    with pytest.raises(ContractError, match="@handler"):
        handler(*events, name="tests.h")(plain)


def test_what_runs_in_celery_has_no_order_and_always_a_timeout() -> None:
    handler(OrderPlaced, name="tests.h", handle_in="celery")(plain)
    handler(OrderPlaced, name="tests.far", handle_in="celery", timeout=2)(with_context)

    first, second = handlers.all()
    assert (first.handle_in, first.ordered, first.timeout) == ("celery", False, timedelta(minutes=5))
    assert second.timeout == timedelta(seconds=2)


def test_a_timeout_is_a_duration() -> None:
    handler(OrderPlaced, name="tests.h", timeout=1.5, versions=(1, "2.0"))(plain)

    (found,) = handlers.all()
    assert found.timeout == timedelta(seconds=1.5)
    assert found.versions == frozenset({"1", "2.0"})
