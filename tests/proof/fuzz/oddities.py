"""Which lines does a consumer log that bad records do not explain?"""

from __future__ import annotations

import logging
import os
import sys

DEAD = "dead letter event="
TRIED = "attempt failed event="


class OddLines(logging.Handler):
    """Write what is neither a dead letter nor the one failure that is planned to a file; print nothing else."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        is_planned = text.startswith(TRIED) and text.endswith("error=NotYet: ")
        if text.startswith(DEAD) or is_planned:
            if "\n" in text:
                text = f"a line that is two: {text!r}"
            else:
                return
        where = os.environ.get("FUZZ_ODD_LINES")
        with open(where, "a") if where else sys.stderr as stream:
            error = f" {record.exc_info[1]!r}" if record.exc_info else ""
            stream.write(f"{record.levelname} {record.name}: {text}{error}\n")
