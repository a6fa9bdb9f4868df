"""Whatever is given as delay or moment: it is now, a moment within ten years, or refused as invalid."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from django_eventbus.exceptions import EventInvalid
from django_eventbus.outbox.scheduling import MOST_AHEAD, MOST_BEHIND, due_at_of

offsets = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)).map(timezone)
moments = st.datetimes(timezones=st.none() | offsets)
near = st.timedeltas(timedelta(days=-3), timedelta(days=4000))
durations = st.one_of(
    st.floats(),
    st.integers(),
    st.timedeltas(),
    st.booleans(),
    st.text(max_size=3),
    st.sampled_from([10**400, -(10**400)]),
)


def outcome_of(*, delay: Any = None, deliver_at: Any = None) -> datetime | str | None:
    """Return when an event is due, or the text of the refusal."""
    try:
        return due_at_of(delay=delay, deliver_at=deliver_at)
    except EventInvalid as exc:
        return str(exc)


@given(durations)
def test_a_delay_is_a_moment_ahead_or_refused(delay: Any) -> None:
    before = datetime.now(UTC)

    due_at = outcome_of(delay=delay)

    if isinstance(due_at, str):
        is_number = isinstance(delay, int | float) and not isinstance(delay, bool)
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay if is_number else math.nan
        assert not 0 <= seconds <= MOST_AHEAD.total_seconds()
        assert due_at.startswith("delay=")
    else:
        assert due_at is None or before < due_at <= datetime.now(UTC) + MOST_AHEAD


@given(moments | near.map(lambda away: datetime.now(UTC) + away) | st.dates() | st.text(max_size=3))
def test_a_moment_is_kept_or_refused(deliver_at: Any) -> None:
    before = datetime.now(UTC)
    assume(deliver_at is not None)

    due_at = outcome_of(deliver_at=deliver_at)

    if isinstance(due_at, str):
        assert due_at.startswith("deliver_at=")
        if isinstance(deliver_at, datetime) and deliver_at.tzinfo is not None:
            assert not before - MOST_BEHIND + timedelta(minutes=1) < deliver_at < before + MOST_AHEAD
    elif due_at is None:
        assert before - MOST_BEHIND <= deliver_at <= datetime.now(UTC)
    else:
        assert due_at == deliver_at
