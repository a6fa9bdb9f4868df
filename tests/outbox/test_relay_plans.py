"""What a look of the relay visits while vacuum has not yet been where a backlog was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from django_eventbus.models import ControlFlag
from django_eventbus.models.relay import RelaySession
from django_eventbus.outbox import reader
from django_eventbus.outbox.reader import WindowReader
from django_eventbus.outbox.shards import shards_of
from tests.outbox.relaying import bus_config, eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres_only]

BACKLOG = """
INSERT INTO eventbus_outbox (event_id, bus, shard, topic, key, headers, payload, event_name)
SELECT gen_random_uuid(), %s, g %% 64, 'orders', 'k', '', 'p', 'x' FROM generate_series(1, 50000) g
"""
VISITED = """
SELECT idx_blks_hit + idx_blks_read FROM pg_statio_user_indexes WHERE indexrelid = 'eventbus_outbox_pkey'::regclass
"""


@pytest.fixture
def session() -> Iterator[RelaySession]:
    opened = RelaySession(bus_config(), shards=shards_of(0, shares=1), is_listening=False)
    yield opened
    opened.close()


@pytest.fixture
def gone_backlog() -> Iterator[None]:
    """Leave the dead entries of a backlog in the index."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE eventbus_outbox SET (autovacuum_enabled = off)")
        cursor.execute(BACKLOG, [ControlFlag.objects.bus_number("default")])
        cursor.execute("ANALYZE eventbus_outbox; DELETE FROM eventbus_outbox")
    yield
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE eventbus_outbox RESET (autovacuum_enabled)")


@pytest.mark.usefixtures("gone_backlog")
def test_an_empty_look_after_a_backlog_visits_nothing_that_was_deleted(
    session: RelaySession, monkeypatch: pytest.MonkeyPatch
) -> None:
    if session.fetch("SHOW server_version_num")[0][0] < "150000":
        pytest.skip("PostgreSQL 14 does not tell at once what was visited")
    monkeypatch.setattr(reader, "LOOK_INTERVAL", 0.0)
    window = WindowReader(session, limit=1000)

    def look() -> None:
        assert session.begin()
        window.read()
        session.fetch("SELECT pg_stat_force_next_flush()")
        session.commit()
        window.learn(set())

    def visited() -> int:
        with connection.cursor() as cursor:
            cursor.execute(VISITED)
            return int(cursor.fetchone()[0])

    def learn_where_the_rows_were() -> bool:
        look()
        return window.window.floor > 0

    eventually(learn_where_the_rows_were)
    for _ in range(10):  # enough for the server to choose between plans of both kinds
        look()
    before = visited()
    look()

    assert visited() - before < 20
