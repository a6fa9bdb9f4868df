"""Which of several due occurrences is published, and that its ids are the same for everyone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from django_eventbus.recurrence.occurrence import Missed, occurrence_id, plan
from django_eventbus.recurrence.schedule import IntervalSchedule

HOURLY = IntervalSchedule(every=timedelta(hours=1))
PATIENCE = timedelta(minutes=1)


def at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 11, 21, hour, minute, second, tzinfo=UTC)


@pytest.mark.parametrize(
    ("missed", "now", "expected"),
    [
        # on time
        ("latest", at(6, 0, 1), (at(6), None, at(7))),
        ("skip", at(6, 0, 1), (at(6), None, at(7))),
        ("all", at(6, 0, 1), (at(6), None, at(7))),
        # a standby took over
        ("skip", at(6, 0, 59), (at(6), None, at(7))),
        # half an hour late
        ("latest", at(6, 30), (at(6), None, at(7))),
        ("skip", at(6, 30), (None, at(6), at(7))),
        # a night without a relay
        ("latest", at(11, 30), (at(11), at(6), at(12))),
        ("skip", at(11, 30), (None, at(6), at(12))),
        ("skip", at(11, 0, 30), (at(11), at(6), at(12))),
        ("all", at(11, 30), (at(6), None, at(7))),
    ],
)
def test_missed_occurrences_are_treated_by_policy(
    missed: Missed, now: datetime, expected: tuple[datetime | None, datetime | None, datetime]
) -> None:
    chosen = plan(HOURLY, due_at=at(6), now=now, missed=missed, patience=PATIENCE)

    assert (chosen.at, chosen.missed_since, chosen.next_at) == expected


def test_ids_depend_on_service_name_time_and_number_and_sort_by_time() -> None:
    first = occurrence_id("/shop", "orders.nightly", at(6), 0)

    assert first == occurrence_id("/shop", "orders.nightly", at(6).astimezone(), 0)
    assert first.version == 7
    assert first.int >> 80 == int(at(6).timestamp() * 1000)
    others = {
        occurrence_id("/billing", "orders.nightly", at(6), 0),
        occurrence_id("/shop", "orders.hourly", at(6), 0),
        occurrence_id("/shop", "orders.nightly", at(7), 0),
        occurrence_id("/shop", "orders.nightly", at(6), 1),
    }
    assert len(others | {first}) == 5
    assert first < occurrence_id("/shop", "orders.nightly", at(7), 0)
