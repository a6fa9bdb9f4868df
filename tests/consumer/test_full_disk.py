"""While the database's disk is full, messages wait; none of them is to blame."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from django_eventbus.models import DeadLetter, RetryMessage
from tests.consumer.scene import Counted, Scene, counted, noted

pytestmark = pytest.mark.postgres_only

ROWS = 'could not extend file "base/16384/16577": No space left on device'
TEMPORARY = 'could not write to file "base/pgsql_tmp/pgsql_tmp4711.0": No space left on device'


def run_out_of_space(message: str) -> None:
    """Fail as PostgreSQL does; the server itself raises it."""
    with connection.cursor() as cursor:
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '53100'; END $$")


@pytest.mark.parametrize("options", [{}, {"atomic": False}])
def test_a_handler_that_meets_a_full_disk_is_not_to_blame(scene: Scene, options: dict[str, Any]) -> None:
    met: list[int] = []

    def fails(event: Counted) -> None:
        if len(met) < 5:  # more often than a handler may break its connection before that counts
            met.append(event.number)
            run_out_of_space(ROWS)

    scene.handles("first", fails, **options)

    scene.deliver(counted(1))

    assert len(met) == 5
    assert noted("first")[-1:] == [1]
    assert not RetryMessage.objects.exists()
    assert not DeadLetter.objects.exists()


def test_a_query_that_fills_the_disk_with_its_own_files_is_a_failed_attempt(scene: Scene) -> None:
    scene.handles("first", lambda event: run_out_of_space(TEMPORARY))

    scene.deliver(counted(1))

    assert RetryMessage.objects.get().attempts == 1
