"""Take the pictures of the documentation again: ``tox -e browser -- tests/browser/pictures.py``.

The name of this module keeps it out of every other run.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from django_eventbus.models import DeadLetter, SagaState
from django_eventbus.models.dead_letter import DeadLetterStatus

from .conftest import Operator
from .rows import fill_every_table

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "how-to" / "images"
LARGEST = 120_000  # bytes
WINDOW = {"width": 1060, "height": 700}


def test_take_the_pictures_of_the_documentation(log_in: Callable[..., Operator]) -> None:
    fill_every_table()
    tidy()
    operator = log_in("nina", viewport=WINDOW)
    operator.page.evaluate("localStorage.setItem('django.admin.navSidebarIsOpen', 'false')")
    letter = DeadLetter.objects.filter(handler="billing.issue_invoice", status=DeadLetterStatus.DEAD).earliest("id")

    operator.page.goto("/admin/eventbus/")
    take(operator, "admin-event-bus")
    operator.open("deadletter/")
    take(operator, "admin-dead-letters")
    operator.open(f"deadletter/{letter.pk}/change/")
    take(operator, "admin-dead-letter")
    operator.open("deadletter/?status__exact=dead")
    operator.page.check("#action-toggle")
    operator.page.select_option("select[name=action]", "replay_selected")
    operator.click("button[name=index]")
    take(operator, "admin-bulk-replay")
    operator.open("scheduledmessage/")
    take(operator, "admin-scheduled-messages")
    operator.open("recurringevent/")
    take(operator, "admin-recurring-events")
    operator.open("sagastate/")
    take(operator, "admin-sagas")
    operator.open(f"sagastate/{SagaState.objects.get(key='2026-0047').pk}/change/")
    operator.page.set_viewport_size({"width": 1060, "height": 1180})
    take(operator, "admin-saga")
    operator.page.set_viewport_size(WINDOW)
    operator.page.emulate_media(color_scheme="dark")
    operator.open("retrymessage/")
    take(operator, "admin-retries-dark")


def tidy() -> None:
    """Let no path of this machine, and no line of this test, come into the picture; and some time pass."""
    for number, letter in enumerate(DeadLetter.objects.order_by("-id")):
        letter.traceback = letter.traceback.replace(str(ROOT / "tests" / "browser"), "/srv/shop/billing")
        letter.traceback = letter.traceback.replace(str(ROOT), "/srv/lib/python3/site-packages")
        letter.failed_at -= timedelta(minutes=7) * number**2
        letter.first_failed_at = letter.failed_at - timedelta(seconds=36) if letter.attempts > 1 else None
        letter.save(update_fields=["traceback", "failed_at", "first_failed_at"])


def take(operator: Operator, name: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    picture = IMAGES / f"{name}.png"
    operator.page.screenshot(path=picture)
    assert picture.stat().st_size < LARGEST
