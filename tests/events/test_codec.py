from __future__ import annotations

import dataclasses
import enum
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from django_eventbus.events.codec import Codec
from django_eventbus.events.contract import AwareDatetime, event
from django_eventbus.events.registry import events
from django_eventbus.exceptions import EventInvalid, Undecodable, UndecodableReason

Count = Annotated[int, msgspec.Meta(gt=0)]


class Status(enum.StrEnum):
    NEW = "new"
    PAID = "paid"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    sku: str
    price: Decimal
    weight: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    id: UUID
    at: AwareDatetime
    day: date
    took: timedelta
    total: Decimal
    ratio: float | None = None
    count: Count = 1
    status: Status = Status.NEW
    lines: tuple[Line, ...] = ()
    notes: dict[str, str | None] = dataclasses.field(default_factory=dict)
    raw: bytes = b""


CODEC = Codec(Everything)
VALID = Everything(
    id=UUID(int=1),
    at=datetime(2026, 11, 21, 8, 30, tzinfo=UTC),
    day=date(2026, 11, 21),
    took=timedelta(seconds=90),
    total=Decimal("1.50"),
)

everything = st.builds(
    Everything,
    id=st.uuids(),
    at=st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001
    day=st.dates(),
    took=st.timedeltas(min_value=timedelta(days=-30_000), max_value=timedelta(days=30_000)),
    total=st.decimals(allow_nan=False, allow_infinity=False),
    ratio=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    count=st.integers(min_value=1, max_value=2**63 - 1),
    status=st.sampled_from(Status),
    lines=st.lists(st.builds(Line, sku=st.text(), price=st.just(Decimal(1)), weight=st.none())).map(tuple),
    notes=st.dictionaries(st.text(), st.none() | st.text()),
    raw=st.binary(),
)


@given(everything)
def test_what_is_encoded_comes_back_equal(original: Everything) -> None:
    assert CODEC.decode(CODEC.encode(original)) == original


def test_the_wire_form_of_each_type() -> None:
    found = msgspec.json.decode(CODEC.encode(VALID))

    assert found == {
        "id": "00000000-0000-0000-0000-000000000001",
        "at": "2026-11-21T08:30:00Z",
        "day": "2026-11-21",
        "took": "PT90S",
        "total": "1.50",
        "ratio": None,
        "count": 1,
        "status": "new",
        "lines": [],
        "notes": {},
        "raw": "",
    }


def test_every_wrong_field_is_listed() -> None:
    wrong: Any = {"id": "zz", "count": -1, "at": datetime(2026, 1, 1), "total": object(), "ratio": float("nan")}  # noqa: DTZ001

    with pytest.raises(EventInvalid) as caught:
        CODEC.encode(dataclasses.replace(VALID, **wrong))

    assert {error.partition(":")[0] for error in caught.value.errors} == set(wrong)
    assert all(error in str(caught.value) for error in caught.value.errors)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ratio", float("nan")),
        ("ratio", float("inf")),
        ("total", Decimal("NaN")),
        ("total", Decimal("sNaN")),
        ("total", Decimal("-Infinity")),
        ("lines", (Line(sku="a", price=Decimal(1), weight=float("nan")),)),
        ("notes", {"a": float("nan")}),
        ("notes", {"a": "\ud800"}),
        ("notes", {"a": SafeString("x")}),
        ("notes", {"a": gettext_lazy("x")}),
        ("status", "unknown"),
        ("count", 0),
        ("count", True),
        ("at", datetime(2026, 1, 1)),  # noqa: DTZ001
        ("raw", "no bytes"),
        ("lines", [{"sku": "a"}]),
    ],
)
def test_what_would_not_arrive_as_it_left_is_refused(field: str, value: Any) -> None:
    with pytest.raises(EventInvalid) as caught:
        CODEC.encode(dataclasses.replace(VALID, **{field: value}))

    assert [error.partition(":")[0] for error in caught.value.errors] == [field]


def test_text_that_only_looks_like_no_number_is_fine() -> None:
    kept = dataclasses.replace(VALID, notes={"null": "NaN Infinity null"})

    assert CODEC.decode(CODEC.encode(kept)) == kept


def test_an_endless_structure_is_refused() -> None:
    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Free:
        anything: Any

    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(EventInvalid, match=r"anything: .*recursion"):
        Codec(Free).encode(Free(anything=endless))


def test_a_rule_across_fields_is_reported_whole() -> None:
    @event("shop.orders.placed", entity="order")
    class Span:
        low: int
        high: int

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low is above high")

    broken = Span(low=1, high=2)
    object.__setattr__(broken, "low", 3)

    with pytest.raises(EventInvalid, match="low is above high"):
        events.contract_of(Span).codec.encode(broken)


def encoded_with(**changes: Any) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(CODEC.encode(VALID)), **changes})


def test_unknown_fields_are_ignored_and_defaults_apply() -> None:
    data = msgspec.json.decode(encoded_with(unknown=[{"deep": 1}]))
    del data["count"], data["lines"]

    assert CODEC.decode(msgspec.json.encode(data)) == VALID


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, UndecodableReason.INVALID_DATA),
        (b"", UndecodableReason.INVALID_JSON),
        (b"{", UndecodableReason.INVALID_JSON),
        (encoded_with() + b" trailing", UndecodableReason.INVALID_JSON),
        (b"\xef\xbb\xbf{}", UndecodableReason.INVALID_JSON),
        (b"{}", UndecodableReason.INVALID_DATA),
        (b"null", UndecodableReason.INVALID_DATA),
        (encoded_with(id="zz"), UndecodableReason.INVALID_DATA),
        (encoded_with(at="2026-01-01T00:00:00"), UndecodableReason.INVALID_DATA),
        (encoded_with(count=0), UndecodableReason.INVALID_DATA),
        (encoded_with(notes={"a": "@"}).replace(b"@", b"\xff"), UndecodableReason.BAD_ENCODING),
        (encoded_with(unknown=0).replace(b"0}", b"[" * 100_000), UndecodableReason.TOO_DEEP),
    ],
)
def test_what_cannot_be_decoded_is_classified(data: bytes | None, reason: UndecodableReason) -> None:
    with pytest.raises(Undecodable) as caught:
        CODEC.decode(data)

    assert caught.value.reason is reason


@pytest.mark.parametrize("error", [KeyError("x"), ZeroDivisionError("x"), ValueError("x"), RuntimeError("x")])
def test_a_constructor_that_raises_makes_the_record_undecodable(error: Exception) -> None:
    @dataclasses.dataclass
    class Fussy:
        value: int

        def __post_init__(self) -> None:
            raise error

    with pytest.raises(Undecodable) as caught:
        Codec(Fussy).decode(b'{"value": 1}')

    assert caught.value.reason is UndecodableReason.INVALID_DATA


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_undecodable(data: bytes) -> None:
    with suppress(Undecodable):
        assert isinstance(CODEC.decode(data), Everything)
