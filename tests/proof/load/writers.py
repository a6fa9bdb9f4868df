"""A writer at a given rate: a row lock for a key, a number for it, an event.

``python -m tests.proof.load.writers RATE SEED`` runs until SIGTERM, or until it is killed.
"""

from __future__ import annotations

import random
import signal
import sys
import threading
import time

THREADS = 6
KEYS = 60
BREATH = 0.2  # seconds that a thread waits after an error of the database

NEXT = "UPDATE load_counter SET value = value + 1 WHERE key = %s RETURNING value"
PUBLISHED = "INSERT INTO load_published (event_id, key, number) VALUES (%s, %s, %s)"


class Writer:
    """Commit one event at each tick of a clock of its own; ticks that an outage swallows are not made up for."""

    def __init__(self, stop: threading.Event, *, interval: float, seed: str) -> None:
        self._stop = stop
        self._interval = interval
        self._random = random.Random(seed)

    def run(self) -> None:
        from django.db import Error, connection

        tick = time.monotonic() + self._random.uniform(0, self._interval)
        while not self._stop.wait(max(0.0, tick - time.monotonic())):
            tick = max(tick, time.monotonic() - 1.0) + self._interval
            try:
                self._write(f"k{self._random.randrange(KEYS)}")
            except Error:
                connection.close()  # whether a commit came through that got no answer, only the database knows
                self._stop.wait(BREATH)
        connection.close()

    def _write(self, key: str) -> None:
        from django.db import connection, transaction

        from django_eventbus import publish
        from tests.proof.load.events import Stepped

        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(NEXT, [key])
            (number,) = cursor.fetchone()
            event_id = publish(Stepped(key=key, number=number))
            cursor.execute(PUBLISHED, [event_id, key, number])


def main(rate: float, seed: str) -> None:
    import django

    django.setup()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    writers = [Writer(stop, interval=THREADS / rate, seed=f"{seed}/{place}") for place in range(THREADS)]
    threads = [threading.Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2])
