"""Writers of a few keys: a row lock for each before its event, and all that a busy service does with transactions.

``python -m tests.history.path.writers SEED`` runs until SIGTERM, or until it is killed.
"""

from __future__ import annotations

import faulthandler
import random
import signal
import sys
import threading

THREADS = 4
KEYS = 24
PAUSE = 0.04  # seconds between two transactions of one thread, on average

NEXT = "UPDATE path_counter SET value = value + 1 WHERE key = %s RETURNING value"
PUBLISHED = "INSERT INTO path_published (event_id, key, number) VALUES (%s, %s, %s)"


class Undone(Exception):
    """The transaction, or a part of it, is to be rolled back."""


class Writer:
    def __init__(self, stop: threading.Event, seed: str) -> None:
        self._stop = stop
        self._random = random.Random(seed)

    def run(self) -> None:
        from django.db import Error, connection, transaction

        while not self._stop.is_set():
            try:
                with transaction.atomic():
                    self._transact()
            except Undone:
                pass
            except Error:
                connection.close()  # a backend was ended: whether the commit came through, only the database knows
                self._stop.wait(0.2)
            self._stop.wait(self._random.expovariate(1 / PAUSE))
        connection.close()

    def _transact(self) -> None:
        chance = self._random.random
        keys = sorted(self._random.sample(range(KEYS), self._random.choice([1, 1, 1, 2, 3])))
        for number in keys:
            self._step(f"k{number}", how_many=2 if chance() < 0.1 else 1)
        if chance() < 0.15:
            self._step_and_undo(f"k{keys[-1]}")
            if chance() < 0.5:
                self._step(f"k{keys[0]}")
        if chance() < 0.03:
            self._stop.wait(self._random.uniform(0.3, 2.5))  # ids above its own are committed before it
        if chance() < 0.1:
            raise Undone

    def _step_and_undo(self, key: str) -> None:
        from django.db import transaction

        try:
            with transaction.atomic():
                self._step(key)
                raise Undone
        except Undone:
            pass

    def _step(self, key: str, *, how_many: int = 1) -> None:
        from django.db import connection

        from django_eventbus import publish_many
        from tests.history.path.events import Stepped
        from tests.history.path.notes import note

        with connection.cursor() as cursor:
            numbers = []
            for _ in range(how_many):
                cursor.execute(NEXT, [key])
                numbers.append(cursor.fetchone()[0])
            ids = publish_many([Stepped(key=key, number=number) for number in numbers])
            for event_id, number in zip(ids, numbers, strict=True):
                note("published", str(event_id))
                cursor.execute(PUBLISHED, [str(event_id), key, number])


def main(seed: str) -> None:
    import django

    django.setup()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    faulthandler.register(signal.SIGUSR1)  # tells where a writer hangs that does not end
    threads = [threading.Thread(target=Writer(stop, f"{seed}/{place}").run) for place in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1])
