from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from tests.history.relay_history import judge, run_history


@pytest.mark.postgres_only
@pytest.mark.django_db(transaction=True)
def test_relays_that_are_killed_and_frozen_at_random_lose_invent_and_reorder_nothing(kafka: str) -> None:
    fields = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
    database: dict[str, Any] = {field: connection.settings_dict[field] for field in fields}
    dsn = f"postgresql://{database['USER']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"

    verdict = run_history(dsn=dsn, database=database, brokers=kafka, seconds=8, writers=4, seed=7)

    assert verdict.is_clean, verdict
    assert verdict.committed > 100
    assert verdict.kills + verdict.freezes > 2


def test_the_judge_sees_what_is_lost_invented_late_and_repeated() -> None:
    verdict = judge({"a": 4, "b": 2}, {"a": [1, 2, 1, 2, 4, 3, 5], "b": [1]})

    assert verdict.lost == ["b:2"]
    assert verdict.invented == ["a:5"]
    assert verdict.late == ["a:4", "a:3"] or verdict.late == ["a:4"]
    assert verdict.repeated == 2
    assert not verdict.is_clean
