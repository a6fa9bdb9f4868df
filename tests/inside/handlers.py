"""The handlers of the steps: the first process that meets the fateful one stands still there."""

from __future__ import annotations

import os
import time
from pathlib import Path

from django_eventbus.delivery.registry import handler
from tests.inside.events import FATEFUL, StepTaken, StepTold
from tests.shop.models import Effect


@handler(StepTaken)
def note_step(event: StepTaken) -> StepTold:
    Effect.objects.create(handler="note_step", key=event.walk, number=event.number)
    if event.number == FATEFUL:
        stand_still()
    return StepTold(walk=event.walk, number=event.number)


@handler(StepTold)
def note_told(event: StepTold) -> None:
    Effect.objects.create(handler="note_told", key=event.walk, number=event.number)


def stand_still() -> None:
    """Say that the place was reached, and wait to be killed; whoever comes later goes on."""
    folder = Path(os.environ["INSIDE_FOLDER"])
    try:
        (folder / "reached").touch(exist_ok=False)
    except FileExistsError:
        return
    while True:
        time.sleep(60)
