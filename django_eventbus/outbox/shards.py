"""Which shards belong to which relay, when several share the work of one bus?"""

from __future__ import annotations

from django_eventbus.conf.sections import SHARDS


def shards_of(share: int, *, shares: int) -> tuple[int, ...]:
    """Return the shards of one share, ascending; all relays take their locks in this order."""
    if not 0 <= share < shares <= SHARDS:
        raise ValueError(f"Share {share} of {shares} does not exist: there are {SHARDS} shards, shares count from 0.")
    return tuple(range(share, SHARDS, shares))
