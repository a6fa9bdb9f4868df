"""Which runs of which handlers fail, decided by name, key and number, so that a judge can foretell it."""

from __future__ import annotations

import hashlib

from django_eventbus.delivery.retry import RetryPolicy

POLICY = RetryPolicy(max_attempts=6, delays=(0.15,), jitter=0)


class Planned(Exception):
    """A failure of the plan."""


def fails(name: str, key: str, number: int, attempt: int) -> bool:
    """Four runs in a hundred fail, once to three times."""
    drawn = draw(name, key, number)
    return drawn < 40 and attempt <= 1 + drawn % 3


def dies(name: str, key: str, number: int) -> bool:
    """One message in a hundred fails however often it is tried."""
    return draw(name, key, number) >= 990


def draw(name: str, key: str, number: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{name}/{key}/{number}".encode(), digest_size=8).digest()) % 1000
