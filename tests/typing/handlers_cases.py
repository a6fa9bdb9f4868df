"""Which handlers do type checkers accept, and which do they refuse? Never imported: only checked."""
# An expected error carries an ignore comment of each checker; both report a comment that suppresses nothing.

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import assert_type

from django_eventbus import MessageContext, RetryPolicy, event, external_event, handler


@event("shop.orders.placed", entity="order")
class Placed:
    n: int


@event("shop.orders.paid", entity="order")
class Paid:
    m: int


@event("shop.orders.shipped", entity="order")
class Shipped:
    k: int


@external_event("accounting.day-ended", topic="days", domain="accounting")
class DayEnded:
    k: int


@event("shop.billing.invoice-issued", entity="invoice")
class Invoice:
    k: int


class NotEvent: ...


@handler(Placed)
def plain(event: Placed) -> None: ...
@handler(Placed)
def with_context(event: Placed, context: MessageContext) -> Invoice:
    return Invoice(k=event.n)


@handler(Placed)
async def awaited(event: Placed, context: MessageContext) -> Invoice:
    return Invoice(k=1)


@handler(DayEnded)
async def awaited_plain(event: DayEnded) -> None: ...
@handler(Placed, Paid)
def two(event: Placed | Paid) -> list[Invoice]:
    return []


@handler(Placed, Paid, Shipped)
def three(event: Placed | Paid | Shipped, context: MessageContext) -> Invoice | None: ...
@handler(Placed, batch=500)
def batch(events: list[Placed]) -> None: ...
@handler(Placed, batch=500)
def batch_with_contexts(events: list[Placed], contexts: list[MessageContext]) -> list[Invoice]:
    return []


@handler(Placed, Paid, batch=500)
def batch_of_two(events: Sequence[Placed | Paid]) -> None: ...
@handler(Placed, name="x", ordered=False, atomic=False, timeout=timedelta(seconds=1), retry=RetryPolicy(max_attempts=2))
def generator(event: Placed | Paid) -> Iterator[Invoice]:
    yield Invoice(k=1)


@handler(Placed, Paid, Shipped, DayEnded)
def four(event: Placed | Paid | Shipped | DayEnded) -> None: ...
@handler(
    Placed, versions=(1, "2.0"), aliases=("old",), dedupe_key=lambda event: event.n, idempotent=False, using="default"
)
def wide(event: object) -> tuple[Invoice, Placed]:
    return Invoice(k=1), Placed(n=1)


@handler(Placed, handle_in="celery", timeout=60)
def elsewhere(event: Placed) -> Invoice | None: ...
@handler(Placed, on_dead_letter="hold_key")
def optional_context(event: Placed, context: MessageContext | None = None) -> None: ...


assert_type(plain, Callable[[Placed], None])
assert_type(with_context, Callable[[Placed, MessageContext], Invoice])
assert_type(two, Callable[[Placed | Paid], list[Invoice]])
assert_type(batch_with_contexts, Callable[[list[Placed], list[MessageContext]], list[Invoice]])
plain(Placed(n=1))


@handler(Placed)  # type: ignore[arg-type]  # pyright: ignore
def wrong_event(event: Paid) -> None: ...
@handler(Placed, Paid)  # type: ignore[arg-type]  # pyright: ignore
def too_narrow(event: Placed) -> None: ...
@handler(Placed)  # type: ignore[arg-type]  # pyright: ignore
def wrong_context(event: Placed, context: int) -> None: ...
@handler(Placed, batch=500)  # type: ignore[arg-type]  # pyright: ignore
def no_list(event: Placed) -> None: ...
@handler(Placed, batch=500)  # type: ignore[type-var]  # pyright: ignore
async def coroutine_of_a_list(events: list[Placed]) -> None: ...
@handler(Placed)  # type: ignore[arg-type]  # pyright: ignore
def list_without_batch(events: list[Placed]) -> None: ...
@handler(Placed)  # type: ignore[type-var]  # pyright: ignore
def returns_no_event(event: Placed) -> int:
    return 1


@handler(NotEvent)  # type: ignore[type-var]  # pyright: ignore
def not_an_event(event: NotEvent) -> None: ...


handler(Placed, on_dead_letter="hold")  # type: ignore[call-overload]  # pyright: ignore


@handler(Placed)  # type: ignore[arg-type]  # pyright: ignore
def too_many(event: Placed, context: MessageContext, extra: int) -> None: ...
@handler(Placed)  # type: ignore[arg-type]  # pyright: ignore
def too_few() -> None: ...


handler(Placed, handle_in="dramatiq")  # type: ignore[call-overload]  # pyright: ignore
handler(Placed, nmae="x")  # type: ignore[call-overload]  # pyright: ignore


@handler  # type: ignore[call-overload]  # pyright: ignore
def no_events(event: Placed) -> None: ...


plain(event=Placed(n=1))  # type: ignore[call-arg]  # pyright: ignore
