"""Known bugs, planted where ``FUZZ_BUG`` names one: a judge that does not find them proves nothing.

They are substituted from here, so that the code under test has no switch for being wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any


def swallowing_decoder() -> None:
    """Take what is not UTF-8 for something that concerns nobody."""
    from django_eventbus.consumer import turn
    from django_eventbus.delivery.deliveries import Broken, Skipped, SkipReason
    from django_eventbus.delivery.pipeline import receive

    def receiving(*arguments: Any, **options: Any) -> Any:
        found = receive(*arguments, **options)
        if isinstance(found, Broken) and str(found.error).startswith("bad_encoding"):
            return Skipped(record=found.record, envelope=None, why=SkipReason.UNKNOWN_EVENT)
        return found

    turn.receive = receiving  # type: ignore[attr-defined]


def lenient_numbers() -> None:
    """Take a number in quotes for a number."""
    import msgspec

    from django_eventbus.events.codec import Codec

    decode = Codec.decode

    def decoding(self: Any, data: Any) -> Any:
        try:
            return decode(self, data)
        except Exception:
            if data is None:
                raise
            try:
                return msgspec.json.decode(data, type=self._cls, strict=False)
            except msgspec.MsgspecError:
                pass
            raise

    Codec.decode = decoding  # type: ignore[method-assign]


def shortened_bytes() -> None:
    """Keep a dead letter as text that fits."""
    from django_eventbus.delivery import dead_letters

    letter = dead_letters._letter

    def shortened(*arguments: Any) -> Any:
        made = letter(*arguments)
        text = made.payload.decode(errors="replace").encode() if made.payload else made.payload
        return replace(made, payload=text)

    dead_letters._letter = shortened  # type: ignore[assignment]


def offset_of_unkept() -> None:
    """Count a record as done though the unit that should have kept it was left out."""
    from django_eventbus.consumer.turn import Turn

    sort = Turn.sort

    def sorting(self: Any, items: Any) -> Any:
        todo = sort(self, items)
        del todo.broken[20:]
        return todo

    Turn.sort = sorting  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug for bug in (swallowing_decoder, lenient_numbers, shortened_bytes, offset_of_unkept)
}


def plant() -> None:
    if name := os.environ.get("FUZZ_BUG"):
        BUGS[name]()
