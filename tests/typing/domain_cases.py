"""Which domain events, translations and cascades do type checkers accept, and which do they refuse? Only checked."""
# An expected error carries an ignore comment of each checker; both report a comment that suppresses nothing.

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import assert_type
from uuid import UUID

from django_eventbus import MessageContext, RecordsEvents, domain_event, event, handler, publish, translates


@domain_event()
class Added:
    n: int


@domain_event("shop.carts.filled", version=2, dispatch="queued", key="n", must_translate=True)
class Filled:
    n: int = 0


@event("shop.carts.changed", entity="cart")
class Changed:
    n: int


class NotEvent: ...


class Cart(RecordsEvents):
    def add(self, n: int) -> UUID:
        return self.record_event(Added(n=n), headers={"origin": "web"})


@translates(Added)
def tell(event: Added) -> Changed:
    return Changed(n=event.n)


@translates(Filled)
def tell_more(event: Filled) -> Iterator[Changed]:
    yield Changed(n=event.n)


@handler(Added, Filled)
def nested(event: Added | Filled, context: MessageContext) -> tuple[Changed | None, list[Changed]]:
    return None, [Changed(n=event.n)]


@handler(Added)
def optional(event: Added) -> Changed | None: ...


assert_type(tell, Callable[[Added], Changed])
assert_type(Added(n=1).n, int)
publish(Filled(n=1), delay=60)
Cart().save()
Cart().record_event(Changed(n=1), key="k", deliver_at=None)

Added(1)  # type: ignore[call-arg]  # pyright: ignore
Added(n="many")  # type: ignore[arg-type]  # pyright: ignore
Added(n=1).n = 2  # type: ignore[misc]  # pyright: ignore
domain_event(dispatch="later")  # type: ignore[arg-type]  # pyright: ignore
domain_event(entity="cart")  # type: ignore[call-arg]  # pyright: ignore
Cart().record_event(Added(n=1), nme=1)  # type: ignore[call-arg]  # pyright: ignore


@translates(Added)  # type: ignore[arg-type]  # pyright: ignore
def wrong_event(event: Filled) -> None: ...
@translates(NotEvent)  # type: ignore[type-var]  # pyright: ignore
def not_an_event(event: NotEvent) -> None: ...
@translates(Added)  # type: ignore[type-var]  # pyright: ignore
def returns_no_event(event: Added) -> int:
    return 1


@handler(Added)  # type: ignore[type-var]  # pyright: ignore
def returns_text(event: Added) -> str:
    return ""
