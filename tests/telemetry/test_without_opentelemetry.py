"""Does everything work, at no cost, where OpenTelemetry is missing or switched off?"""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
{preparation}
from django_eventbus import signals
from django_eventbus.events.envelope import Envelope
from django_eventbus.telemetry import (
    capture, connect_metrics, processing, processing_batch, publishing, sending, suppressed,
)

def never():
    raise AssertionError("read although nobody traces")
    yield

message = Envelope(message_id="1", event_name="a.b", source="s", topic="t", key=None, data=b"", traceparent="00-x")
options = dict(handler="a.b", group="g", attempt=1)
with publishing("t", event_name="a.b", message_id="1") as carried:
    assert carried is None
with sending(count=1, topics=never(), created=never()) as operation:
    operation.fail("X")
with processing(message, **options) as operation:
    operation.fail("X")
with processing_batch([message], **options) as operation:
    operation.fail("X")
try:
    with processing(message, **options):
        raise KeyError("goes on")
except KeyError:
    pass
with suppressed():
    pass
connect_metrics()
assert capture() is None
assert not signals.message_handled.has_listeners()
assert ("opentelemetry.sdk" in sys.modules) is False
print("fine", "opentelemetry.trace" in sys.modules)
"""
BLOCKED = """
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "opentelemetry":
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
"""


@pytest.mark.parametrize(("preparation", "has_api"), [(BLOCKED, False), ("", True)], ids=["no api", "api without sdk"])
def test_nothing_is_traced_and_nothing_fails(preparation: str, has_api: bool) -> None:
    program = PROGRAM.replace("{preparation}", preparation)

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.stderr == ""
    assert done.stdout.split() == ["fine", str(has_api)]
