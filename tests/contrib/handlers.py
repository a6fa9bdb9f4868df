"""A handler that runs in Celery's workers, and kills its process where a message says so."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from django.db import transaction

from django_eventbus import event, handler
from tests.shop.models import Effect

FOLDER = "TESTS_CELERY_FOLDER"


@event("tests.far.measured", topic="measures", domain="tests", key="number")
class Measured:
    number: int
    dies: str = ""  # where its first run is killed: "begun", "handled" or "committed"


@handler(Measured, name="far.note", handle_in="celery", timeout=3)
def note(event: Measured) -> None:
    """Write down that the handler ran, unless the process dies on it."""
    die_at("begun", event)
    Effect.objects.create(handler="far.note", number=event.number)
    die_at("handled", event)
    transaction.on_commit(lambda: die_at("committed", event))


def die_at(point: str, event: Measured) -> None:
    marker = Path(os.environ[FOLDER]) / f"died-{event.number}"
    if event.dies == point and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
