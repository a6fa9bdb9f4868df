"""The product's relay with a clock at its joints: the processor time of its thread in each part of a step."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import django

django.setup()

from benchmarks.children import serve
from django_eventbus.bus import buses
from django_eventbus.events.envelope import split_headers
from django_eventbus.models.relay import RelaySession
from django_eventbus.outbox.relay import RelayReport
from django_eventbus.transports.kafka.producer import RowProducer

JOINTS = {
    "read": (RelaySession, "read"),
    "produce": (RowProducer, "_produce"),
    "flush": (RowProducer, "_flush"),
    "delete": (RelaySession, "remove_sent"),
}
spent: defaultdict[str, float] = defaultdict(float)  # seconds of the relay's thread, by joint


def clocked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **values: Any) -> Any:
        began = time.thread_time()
        try:
            return function(*arguments, **values)
        finally:
            spent[name] += time.thread_time() - began

    return call


for name, (owner, method) in JOINTS.items():
    setattr(owner, method, clocked(name, getattr(owner, method)))


def drain(count: int) -> dict[str, Any]:
    """Relay until so many messages are sent; return the processor time of each part, and of the other threads."""
    stop = threading.Event()
    sent = 0

    def note(report: RelayReport) -> None:
        nonlocal sent
        sent = report.sent
        if sent >= count:
            stop.set()

    spent.clear()
    all_threads, this_thread = time.process_time(), time.thread_time()
    buses["default"].open_relay(on_progress=note).run(stop)
    this_thread = time.thread_time() - this_thread
    all_threads = time.process_time() - all_threads
    return {"sent": sent, "thread": this_thread, "others": all_threads - this_thread, **spent}


def split(headers: str, count: int) -> float:
    """Return the processor time of splitting the headers of so many rows: as a clock around each would cost as much."""
    began = time.thread_time()
    for _ in range(count):
        split_headers(headers)
    return time.thread_time() - began


serve({"drain": drain, "split": split})
