"""What type checkers say of @recurring; each comment names an error that must be found."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import assert_type

from django_eventbus import event, recurring


@event("typing.ticked", topic="ticks")
class Ticked:
    n: int


@recurring("0 6 * * *", timezone="Europe/Berlin", missed="skip")
def daily() -> Ticked:
    return Ticked(n=1)


@recurring(every=timedelta(minutes=5))
def often(at: datetime) -> list[Ticked] | None:
    return None


@recurring(every=60, name="typing.generated", bus="audit")
def generated() -> Iterator[Ticked]:
    yield Ticked(n=1)


assert_type(daily(), Ticked)
assert_type(often(datetime.now(UTC)), list[Ticked] | None)


@recurring("0 6 * * *")  # type: ignore[type-var]  # pyright: ignore
def wrong_moment(at: date, more: int) -> Ticked:
    return Ticked(n=1)


@recurring("0 6 * * *")  # type: ignore[type-var]  # pyright: ignore
def no_event() -> int:
    return 1


recurring("0 6 * * *", missed="some")  # type: ignore[arg-type]  # pyright: ignore


@recurring  # type: ignore[arg-type]  # pyright: ignore
def bare() -> Ticked:
    return Ticked(n=1)
