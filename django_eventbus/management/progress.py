"""How does a command show on a terminal how far it is, without getting in the way of its log lines?"""

from __future__ import annotations

import time

from django.core.management.base import OutputWrapper

INTERVAL = 0.2  # seconds
_REST_OF_LINE = "\x1b[K"


class Progress:
    """Keep one line up to date on a terminal; say nothing elsewhere, nor with `--verbosity 0`."""

    def __init__(self, stream: OutputWrapper, *, verbosity: int = 1) -> None:
        self._stream = stream
        self._is_shown = verbosity > 0 and stream.isatty()
        self._next = 0.0

    def show(self, text: str) -> None:
        """Replace the line, a few times a second at most; the cursor stays at its start, so a log line covers it."""
        if self._is_shown and (now := time.monotonic()) >= self._next:
            self._next = now + INTERVAL
            self._write(f"{text}{_REST_OF_LINE}\r")

    def clear(self) -> None:
        """Take the line away."""
        if self._is_shown:
            self._write(_REST_OF_LINE)

    def _write(self, text: str) -> None:
        self._stream.write(text, style_func=str, ending="")  # it is no error, though it goes to stderr
        self._stream.flush()
