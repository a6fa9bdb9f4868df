"""What the tests of events share: a registry that forgets, and a bus made of what naming and keys read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from django_eventbus.events.registry import EventRegistry, events


@dataclass(frozen=True, slots=True, kw_only=True)
class Bus:
    environment: str = "Development"
    domain: str | None = None
    service: str = "orders"
    namer: str = "django_eventbus.events.naming.default_namer"
    partition_key_fields: tuple[str, ...] = ()
    escape_keys: bool = True


@pytest.fixture(autouse=True)
def registry() -> Iterator[EventRegistry]:
    with events.isolated() as isolated:
        yield isolated
