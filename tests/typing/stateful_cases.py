"""Which stateful handlers do type checkers accept, and which do they refuse? Never imported: only checked."""
# An expected error carries an ignore comment of each checker; both report a comment that suppresses nothing.

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import assert_type

from django.db import models

from django_eventbus import MessageContext, RetryPolicy, event, external_event, stateful_handler


@event("shop.orders.placed", entity="order")
class Placed:
    n: int


@event("shop.orders.paid", entity="order")
class Paid:
    m: int


@external_event("accounting.day-ended", topic="days", domain="accounting")
class DayEnded:
    k: int


@event("shop.billing.invoice-issued", entity="invoice")
class Invoice:
    k: int


class Total(models.Model): ...


class Other(models.Model): ...


class NoModel: ...


@stateful_handler(Placed, key="n", state=Total)
def plain(event: Placed, total: Total) -> None: ...
@stateful_handler(Placed, key=("n",), state=Total, state_key="id")
def with_context(event: Placed, total: Total, context: MessageContext) -> Invoice:
    return Invoice(k=event.n)


@stateful_handler(DayEnded, key=lambda event: event.k, state=Total)
async def awaited(event: DayEnded, total: Total) -> None: ...
def either(event: Placed | Paid) -> int:
    return event.n if isinstance(event, Placed) else event.m


@stateful_handler(Placed, Paid, key=either, state=Total, name="x", retry=RetryPolicy(max_attempts=2))
def two(event: Placed | Paid, total: Total) -> list[Invoice]:
    return []


@stateful_handler(Placed, Paid, DayEnded, key="n", state=Total)
def three(event: Placed | Paid | DayEnded, total: Total, context: MessageContext) -> Iterator[Invoice]:
    yield Invoice(k=1)


@stateful_handler(Placed, Paid, DayEnded, Invoice, key="n", state=Total)
def four(event: object, total: Total) -> None: ...


assert_type(plain, Callable[[Placed, Total], None])
assert_type(with_context, Callable[[Placed, Total, MessageContext], Invoice])
assert_type(two, Callable[[Placed | Paid, Total], list[Invoice]])
plain(Placed(n=1), Total())


@stateful_handler(Placed, key="n", state=Total)  # type: ignore[arg-type]  # pyright: ignore
def wrong_event(event: Paid, total: Total) -> None: ...
@stateful_handler(Placed, key="n", state=Total)  # type: ignore[arg-type]  # pyright: ignore
def wrong_state(event: Placed, total: Other) -> None: ...
@stateful_handler(Placed, key="n", state=Total)  # type: ignore[arg-type]  # pyright: ignore
def no_state(event: Placed) -> None: ...
@stateful_handler(Placed, key="n", state=Total)  # type: ignore[arg-type]  # pyright: ignore
def wrong_context(event: Placed, total: Total, context: int) -> None: ...
@stateful_handler(Placed, key="n", state=Total)  # type: ignore[type-var]  # pyright: ignore
def returns_no_event(event: Placed, total: Total) -> int:
    return 1


stateful_handler(Placed, state=Total)  # type: ignore[call-overload]  # pyright: ignore
stateful_handler(Placed, key="n")  # type: ignore[call-overload]  # pyright: ignore
stateful_handler(Placed, key="n", state=NoModel)  # type: ignore[type-var]  # pyright: ignore
stateful_handler(Placed, key=1, state=Total)  # type: ignore[call-overload]  # pyright: ignore
stateful_handler(Placed, key="n", state=Total, batch=5)  # type: ignore[call-overload]  # pyright: ignore
