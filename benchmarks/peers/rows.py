"""What do the outboxes of peers hold? The rows that draining.py makes for ours, made from values instead of SQL."""

from __future__ import annotations

from benchmarks.topics import FIRST_NUMBER

EVENT = "bench.shop.order-placed"
KEYS = 1000


def payload(number: int) -> dict[str, object]:
    """Make the event of shop/events.py without this package: its process is not to load it."""
    return {
        "number": FIRST_NUMBER + number,
        "order": key(number),
        "customer": "customer-000000000042",
        "currency": "EUR",
        "total": "1234567.89",
        "note": "n" * 206,
    }


def key(number: int) -> str:
    return f"order-{number % KEYS:04}"


def headers(number: int) -> dict[str, str]:
    """Make the seven headers of an event that has no parent and no trace."""
    return {
        "ce_specversion": "1.0",
        "ce_id": f"00000000-0000-0000-0000-{number:012x}",
        "ce_type": EVENT,
        "ce_source": "/bench/bench",
        "ce_time": "2026-01-01T00:00:00.000000Z",
        "ce_eventversion": "1",
        "content-type": "application/json",
    }
