"""A service that knows nothing of this package feeds our handlers, and reads our records."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_eventbus import MessageContext, external_event, message_context
from django_eventbus.models import DeadLetter
from tests.conformance.happenings import Counted, noted, noting
from tests.conformance.world import World

PARTNER = Path(__file__).with_name("partner.py")


def partner(*arguments: str, folder: Path) -> list[Any]:
    """Run the partner's program where it can't find this project; return what it printed."""
    command = [sys.executable, "-I", str(PARTNER), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=90, cwd=folder)
    assert done.returncode == 0, done.stderr
    *printed, loaded = map(json.loads, done.stdout.splitlines())
    assert loaded == []
    return printed


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_partner_feeds_our_handlers(
    make_world: Callable[..., World], make_topic: Callable[..., str], kafka: str, tmp_path: Path, mode: str
) -> None:
    topic = make_topic()
    contexts: list[MessageContext] = []

    @external_event("partner.parcels.parcel-arrived", topic=f"/{topic}")
    class ParcelArrived:
        key: str
        number: int

    noting("tests.arrived", ParcelArrived, then=lambda event, context: contexts.append(context))
    world = make_world()
    world.start()

    partner("send", kafka, topic, mode, "3", folder=tmp_path)

    world.wait_until(lambda: len(noted("tests.arrived")) >= 3)
    assert noted("tests.arrived", "hall-7") == [0, 1, 2]
    assert [context.message_id for context in contexts] == [f"parcel:{mode}:{number}" for number in range(3)]
    first = contexts[0]
    assert (first.source, first.correlation_id) == ("https://partner.example/parcels", "journey-0")
    assert (first.key, first.event_version) == ("hall-7", "")
    assert first.published_at is not None
    assert not DeadLetter.objects.exists()


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_partner_reads_our_records(make_world: Callable[..., World], kafka: str, tmp_path: Path, mode: str) -> None:
    world = make_world(CONTENT_MODE=mode, partitions=1)
    world.start_relay()

    with message_context(correlation_id="c1", tenant_id="t1", headers={"origin": "web"}):
        ids = world.publish(*(Counted(key="a", number=number, note="wé") for number in range(3)))

    read = partner("receive", kafka, world.topic(Counted), "3", folder=tmp_path)
    assert [each["id"] for each in read] == [str(event_id) for event_id in ids]
    assert [each["data"] for each in read] == [{"key": "a", "number": number, "note": "wé"} for number in range(3)]
    first = read[0]
    assert (first["specversion"], first["type"], first["source"]) == ("1.0", "tests.conformance.counted", world.source)
    assert (first["eventversion"], first["correlationid"], first["tenantid"]) == ("1", "c1", "t1")
    assert (first["key"], first["datacontenttype"]) == ("a", "application/json")
