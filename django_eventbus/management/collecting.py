"""How much of a long-running command's time may the garbage collector take?"""

from __future__ import annotations

import gc

THRESHOLDS = (10_000, 20, 20)  # Python's 700 would have it look for cycles with every few dozen messages


def collect_rarely() -> None:
    """Leave the loaded project out of every later collection, and look less often; for a process of our own.

    Messages in flight make many objects that live for a moment and form no cycles: a fifth of a consumer's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
