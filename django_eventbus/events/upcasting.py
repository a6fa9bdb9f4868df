"""How does the payload of an old version become one of a newer class?"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from django_eventbus.exceptions import Undecodable, UndecodableReason

from .codec import undecodable

Upcast = Callable[[dict[str, Any]], dict[str, Any]]

_read = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode  # Decimal: nothing is rounded on the way
_write = msgspec.json.Encoder(decimal_format="number").encode


def version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """Sort versions as people read them: "" before 1 before 1.0 before 2 before 10."""
    parts = re.findall(r"[0-9]+|[^0-9.]+", version)
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)


class Upcasters:
    """Keep the steps between the versions of one event name."""

    def __init__(self) -> None:
        self._steps: dict[str, dict[str, Upcast]] = defaultdict(dict)  # target version -> from version -> function
        self._sources: dict[str, int | str] = {}  # every version that a step leaves, as it was written

    def add(self, function: Upcast, *, from_version: int | str, target: str) -> Upcast:
        """Add the step that leaves `from_version` on the way to `target`; return the one that holds that place."""
        self._sources.setdefault(str(from_version), from_version)
        return self._steps[target].setdefault(str(from_version), function)

    def copy(self) -> Upcasters:
        """Return an independent copy."""
        made = Upcasters()
        made._steps.update({target: dict(steps) for target, steps in self._steps.items()})
        made._sources.update(self._sources)
        return made

    def sources(self) -> dict[str, int | str]:
        """Return every version that a step leaves, as text and as it was written."""
        return dict(self._sources)

    def path(self, version: str, *, target: str) -> tuple[Upcast, ...] | None:
        """Return the functions that lead from one version to another, in order; None where no way leads there."""
        if version == target:
            return ()
        for goal in sorted(self._steps, key=lambda goal: (goal != target, version_order(goal))):
            if version not in self._steps[goal]:
                continue
            rest = self.path(self._next(version, goal), target=target)
            if rest is not None:
                return (self._steps[goal][version], *rest)
        return None

    def _next(self, version: str, goal: str) -> str:
        stations = sorted(self._steps[goal], key=version_order)
        return next((later for later in stations if version_order(later) > version_order(version)), goal)


def upcast(data: bytes | None, steps: Sequence[Upcast]) -> bytes:
    """Return the payload after all steps; raise Undecodable where it, or a step, fails."""
    if data is None:
        raise Undecodable(UndecodableReason.INVALID_DATA, "the message carries no data")
    try:
        payload = _read(data)
        for step in steps:
            payload = step(payload)
            if not isinstance(payload, dict):
                raise TypeError(f"upcaster {step.__qualname__} returned no dict")
        return _write(payload)
    except MemoryError:
        raise  # the process is short of memory; the message is not at fault
    except Exception as exc:  # a user's step may raise anything; unclassified, it would crash the loop
        raise undecodable(exc) from exc
