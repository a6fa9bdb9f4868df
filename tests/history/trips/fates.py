"""What befalls each message, drawn from the seed: a service books, refuses or keeps silent, and runs fail."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

from django_eventbus.delivery.context import MessageContext
from django_eventbus.exceptions import Reject
from tests.history import chaos
from tests.history.path.notes import FOLDER
from tests.history.plan import Planned, draw

SEED = os.environ.get("HISTORY_SEED", "0")
PATIENCE = 2.5  # seconds that a trip waits for answers before it asks again
HEALED = "healed"  # file beside the notes: what is doomed is mended


class Kind(Enum):
    """Say what a service did about a request."""

    BOOKED = "booked"
    REFUSED = "refused"
    SILENT = "silent"  # nothing, and nobody hears of it
    UNDONE = "undone"


def answer_to(trip: str, part: str, number: int) -> tuple[Kind, float]:
    """Return what a service does when it is asked, and how many seconds its answer takes."""
    drawn = draw(f"{SEED}/answer/{part}", trip, number)
    if drawn < 60:
        return Kind.REFUSED, 0
    if drawn < 160:
        return Kind.SILENT, 0
    return Kind.BOOKED, PATIENCE * (0.7 + drawn % 60 / 100) if drawn > 850 else 0


def befall(what: str, trip: str, context: MessageContext, *, doomed: int) -> None:
    """Perhaps fail, die or freeze; of a thousand messages `doomed` fail until they are mended."""
    chaos.point("handler" if context.attempt == 1 else "retry handler")
    drawn = draw(f"{SEED}/{what}", trip, 0)
    if drawn < doomed and not Path(FOLDER, HEALED).exists():
        raise Reject("as planned")
    if drawn >= 940 and context.attempt <= 1 + drawn % 3:
        raise Planned
