"""What a command says of children that its own stop has ended."""

from __future__ import annotations

import threading

from django_eventbus.management.children import run_children


def test_a_child_that_is_stopped_while_it_starts_is_no_failure() -> None:
    stop = threading.Event()
    threading.Timer(0.15, stop.set).start()  # a child needs longer than that to import Django and to listen

    (child,) = run_children([["drain_outbox"]], stop)

    assert child.code == 0
