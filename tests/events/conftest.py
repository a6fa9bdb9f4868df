"""What the tests of events share: a bus made of what naming and keys read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bus:
    environment: str = "Development"
    domain: str | None = None
    service: str = "orders"
    namer: str = "django_eventbus.events.naming.default_namer"
    partition_key_fields: tuple[str, ...] = ()
    escape_keys: bool = True
