"""Who carries the local queue of a bus that has a broker? A thread beside the workers of `consume_events`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from django.db import connections

from django_eventbus.outbox.relay import Relay, RelayReport

from .membership import ConsumerFailed


class LocalQueue:
    """Relay from the local queue to the handlers while the block is open.

    Several processes stand by for each other, by the locks of the relay. Should it fail, `stop` is set, so that the
    workers end as well; the failure is raised at the end of the block.
    """

    def __init__(self, open_relay: Callable[[], Relay], stop: threading.Event, *, patience: float) -> None:
        self.report = RelayReport()
        self.is_clean = True  # its handlers had ended when the block was left
        self._relay = open_relay()
        self._stop = stop
        self._patience = patience
        self._is_over = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="eventbus-local-queue", daemon=True)

    def __enter__(self) -> LocalQueue:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        self._is_over.set()
        self._relay.wake()
        self._thread.join(self._patience)
        self.is_clean = not self._thread.is_alive()
        if kind is None and self._failure is not None:
            raise ConsumerFailed(f"{type(self._failure).__name__}: {self._failure}") from self._failure

    def _run(self) -> None:
        try:
            self.report = self._relay.run(self._is_over)
        # The boundary of a thread: without this, the workers would go on beside a queue that nobody carries.
        except Exception as exc:  # noqa: BLE001
            self._failure = exc
            self._stop.set()
        finally:
            connections.close_all()
