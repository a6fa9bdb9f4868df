"""Members of the load's group that stay for about a second, and come again.

``python -m tests.proof.chaos.restless MEMBERS SEED`` says "begun" and goes on until SIGTERM.
"""

from __future__ import annotations

import random
import signal
import sys
import threading


class Restless:
    """Run one worker after the other, each for a moment."""

    def __init__(self, stop: threading.Event, *, seed: str) -> None:
        self._stop = stop
        self._random = random.Random(seed)

    def run(self) -> None:
        from django_eventbus.bus import buses

        bus = buses["default"]
        (group,) = bus.groups.values()
        while not self._stop.wait(self._random.uniform(0.3, 1.0)):
            leave = threading.Event()
            alarm = threading.Timer(self._random.uniform(0.7, 1.5), leave.set)
            alarm.start()
            bus.open_worker(group).run(leave)
            alarm.cancel()


def main(members: int, seed: str) -> None:
    import django

    django.setup()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threads = [threading.Thread(target=Restless(stop, seed=f"{seed}/{place}").run) for place in range(members)]
    for thread in threads:
        thread.start()
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
