"""While the database's disk is full, messages wait; none of them is to blame."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, connection

from django_eventbus.models import DeadLetter, RetryMessage
from tests.consumer.scene import Counted, Scene, counted, noted

pytestmark = pytest.mark.postgres_only

ROWS = 'could not extend file "base/16384/16577": No space left on device'
SHARED = 'could not resize shared memory segment "/PostgreSQL.4711" to 8388608 bytes: No space left on device'
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


@pytest.mark.parametrize("message", [TEMPORARY, SHARED])
def test_a_query_that_fills_what_it_alone_needs_is_a_failed_attempt(scene: Scene, message: str) -> None:
    scene.handles("first", lambda event: run_out_of_space(message))

    scene.deliver(counted(1))

    assert RetryMessage.objects.get().attempts == 1


def test_it_still_is_where_the_handler_raises_an_error_of_its_own_for_it(scene: Scene) -> None:
    def report(event: Counted) -> None:
        try:
            run_out_of_space(TEMPORARY)
        except DatabaseError as exc:
            raise RuntimeError("the report failed") from exc

    scene.handles("first", report)

    scene.deliver(counted(1))

    assert RetryMessage.objects.get().attempts == 1


def test_an_error_that_only_quotes_a_full_disk_is_the_handlers_own(scene: Scene) -> None:
    def quote(event: Counted) -> None:
        raise ValueError("cannot read the note 'database or disk is full'")

    scene.handles("first", quote)

    scene.deliver(counted(1))

    assert RetryMessage.objects.get().attempts == 1
