"""How are messages made for a group, and how is it seen that it has its partitions and has handled all of them?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg

from benchmarks.bench import require, wait_until
from benchmarks.topics import Ready
from django_eventbus.events.cloudevents import to_headers
from django_eventbus.events.envelope import Envelope
from django_eventbus.events.identifiers import uuid7
from django_eventbus.events.registry import events

TABLES = "shop_effect, eventbus_inbox, reference_inbox"


def ready(count: int) -> Iterator[Ready]:
    """Make records as the product does."""
    from benchmarks.shop.events import order_placed

    now = datetime.now(UTC)
    contract = events.contract_of(order_placed(0))
    for number in range(count):
        event = order_placed(number)
        message_id = str(uuid7())
        envelope = Envelope(
            message_id=message_id,
            event_name=contract.name,
            event_version=contract.version,
            source="/bench/bench",
            topic="",
            key=None,
            data=None,
            published_at=now,
            correlation_id=message_id,
        )
        yield event.order.encode(), to_headers(envelope), contract.codec.encode(event)


def clear(connection: psycopg.Connection[Any]) -> None:
    connection.execute(f"TRUNCATE {TABLES}")
    connection.execute("CHECKPOINT")


def wait_for_owners(connection: psycopg.Connection[Any], group: str, *, processes: int, partitions: int = 4) -> None:
    """Wait until so many processes share the partitions evenly."""
    owned = """
    SELECT count(*) FROM eventbus_partition
    WHERE group_name = %s AND NOT is_clean AND topic NOT LIKE '%%:local' GROUP BY owner
    """
    even = [(partitions // processes,)] * processes
    wait_until(lambda: connection.execute(owned, [group]).fetchall() == even, f"{group} has its partitions")


def wait_for_effects(connection: psycopg.Connection[Any], count: int, *, require_alive: Any) -> None:
    def are_there() -> bool:
        require_alive()
        found = connection.execute("SELECT count(*) FROM shop_effect").fetchone()
        return found is not None and found[0] >= count

    wait_until(are_there, f"{count} effects", patience=300, pause=0.1)
    found = connection.execute("SELECT count(*), count(DISTINCT number) FROM shop_effect").fetchone()
    require((count, count), found, "effects, different ones")


def require_taken(connection: psycopg.Connection[Any], inbox: str, count: int) -> None:
    require((count,), connection.execute(f"SELECT count(*) FROM {inbox}").fetchone(), f"rows in {inbox}")
    for table in ("eventbus_retry", "eventbus_dead_letter"):
        require((0,), connection.execute(f"SELECT count(*) FROM {table}").fetchone(), f"rows in {table}")
