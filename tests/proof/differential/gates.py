"""How is a process made to do one step of a trace, and no other? It asks for leave before each, and tells when done."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gates:
    """Hold the leave for the next step. `_changed` protects it: a reading thread brings it, others take it."""

    def __init__(self) -> None:
        self.told = ""  # the detail of the last step: what the handlers do
        self._changed = threading.Condition()
        self._leave = ""
        self._mouth = -1

    def open(self, *, ear: int, mouth: int) -> None:
        """Listen to whoever directs this process."""
        self._mouth = mouth
        threading.Thread(target=self._listen, args=(ear,), daemon=True).start()

    def may(self, *steps: str) -> bool:
        """Say whether one of these is the next step, without waiting for it."""
        with self._changed:
            return self._leave in steps

    def wait(self, *steps: str) -> str:
        """Wait until one of these is the next step."""
        with self._changed:
            self._changed.wait_for(lambda: self._leave in steps)
            return self._leave

    def done(self, *, answer: str = "") -> None:
        """Tell that the step is done; nothing more may be done now."""
        with self._changed:
            step, self._leave = self._leave, ""
        os.write(self._mouth, (json.dumps([step, answer]) + "\n").encode())

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Bracket what is done under a leave; where it fails, the leave stays for who cleans up."""
        self.wait(name)
        yield
        self.done()

    def _listen(self, ear: int) -> None:
        for line in os.fdopen(ear):
            with self._changed:
                self._leave, self.told = json.loads(line)
                self._changed.notify_all()
        os._exit(0)


gates = Gates()
