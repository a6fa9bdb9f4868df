"""The product's relay, as `drain_outbox` runs it, with a look at its clock."""

from __future__ import annotations

import threading
import time
from typing import Any

import django
import msgspec

django.setup()

from benchmarks.children import serve
from benchmarks.topics import Numbered
from django_eventbus.bus import buses
from django_eventbus.outbox import relay as relay_module
from django_eventbus.outbox.relay import Relay, RelayReport
from django_eventbus.outbox.step import Step

empty_polls: list[float] = []  # seconds


class TimedStep(Step):
    """Note how long a look takes that finds nothing."""

    def run(self) -> None:
        began = time.perf_counter()
        super().run()
        if not self.has_read:
            empty_polls.append(time.perf_counter() - began)


relay_module.Step = TimedStep  # type: ignore[misc]


class TimedSender:
    """Note when the delivery reports of each message were there."""

    def __init__(self, sender: Any) -> None:
        self._sender = sender
        self.serve = sender.serve
        self.close = sender.close

    def send(self, rows: Any, *, deadline: float) -> Any:
        result = self._sender.send(rows, deadline=deadline)
        now = time.monotonic()
        deliveries.extend((msgspec.json.decode(row[4], type=Numbered).number, now) for row in rows)
        return result


deliveries: list[tuple[int, float]] = []
stopping = threading.Event()
thread: threading.Thread | None = None
outcome: list[RelayReport] = []


def drain(count: int, linger: float = 0.0) -> dict[str, Any]:
    """Relay until so many messages are sent, and a while longer to see how an idle relay polls."""
    marks: list[tuple[float, int]] = []
    stop = threading.Event()

    def note(report: RelayReport) -> None:
        marks.append((time.monotonic(), report.sent))
        if report.sent >= count and marks[-1][0] - next(at for at, sent in marks if sent >= count) >= linger:
            stop.set()

    empty_polls.clear()
    watch = threading.Timer(600, stop.set)
    watch.daemon = True
    watch.start()
    report = buses["default"].open_relay(on_progress=note).run(stop)
    watch.cancel()
    first = next((place for place, mark in enumerate(marks) if mark[1] >= count), len(marks) - 1)
    return {"sent": report.sent, "marks": marks[: first + 1], "polls": empty_polls[:]}


def start() -> None:
    """Relay in the background until `stop`, noting the time of every delivery report."""
    global thread
    bus = buses["default"]
    stopping.clear()
    deliveries.clear()
    relay = Relay(bus.config, lambda: TimedSender(bus.transport.open_sender(client_id="bench-relay")))
    thread = threading.Thread(target=lambda: outcome.append(relay.run(stopping)))
    thread.start()


def stop() -> dict[str, Any]:
    assert thread is not None
    stopping.set()
    thread.join()
    return {"sent": outcome[-1].sent, "deliveries": deliveries}


serve({"drain": drain, "start": start, "stop": stop})
