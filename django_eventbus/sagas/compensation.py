"""What would undo the steps that a saga has taken, and how is it kept until it is needed?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from django_eventbus.events.registry import events


@dataclass(frozen=True, slots=True, kw_only=True)
class Compensation:
    """Be one event that undoes a step, as it was serialised when the step succeeded."""

    name: str
    version: str
    data: str  # JSON


def remember(event: object) -> Compensation:
    """Serialise an event now, so that one which cannot travel fails the step that it would undo, not the undoing."""
    contract = events.contract_of(event)
    return Compensation(name=contract.name, version=contract.version, data=contract.codec.encode(event).decode())


def recall(compensation: Compensation) -> Any:
    """Return the event, in the newest class that its version leads to; raise Undecodable where there is none."""
    return events.decode(compensation.name, compensation.version, compensation.data.encode())


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(tuple[Compensation, ...])


def write_stack(stack: Iterable[Compensation]) -> str:
    """Return a stack as the JSON of its column, the oldest first."""
    return _encoder.encode(tuple(stack)).decode()


def read_stack(text: str) -> tuple[Compensation, ...]:
    """Return the stack that a column holds."""
    return () if text == "[]" else _decoder.decode(text)
