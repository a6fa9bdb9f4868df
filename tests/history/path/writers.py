"""Writers of many keys: row locks before the events, and all that a busy service does with transactions.

``python -m tests.history.path.writers SEED`` runs until SIGTERM, or until it is killed.
"""

from __future__ import annotations

import faulthandler
import os
import random
import signal
import sys
import threading
from collections.abc import Sequence

THREADS = 4
PAUSE = float(os.environ.get("HISTORY_PAUSE", "0.01"))  # seconds between two transactions of one thread, on average
LOCK_TIMEOUT = 1.0  # seconds that a writer waits for a key that a frozen one has locked

# Locks in one order, so that no two writers wait for each other; the numbers in a second statement, under the locks.
LOCK = "SELECT FROM path_counter WHERE key = ANY(%s) ORDER BY key FOR UPDATE"
COUNT = """
UPDATE path_counter AS c SET value = value + n.amount FROM unnest(%s::int[], %s::int[]) AS n (key, amount)
WHERE c.key = n.key RETURNING c.key, c.value - n.amount, n.amount
"""
PUBLISHED = "INSERT INTO path_published (event_id, key, number) SELECT * FROM unnest(%s::uuid[], %s::int[], %s::int[])"


class Undone(Exception):
    """The transaction, or a part of it, is to be rolled back."""


class Writer:
    def __init__(self, stop: threading.Event, seed: str) -> None:
        self._stop = stop
        self._random = random.Random(seed)

    def run(self) -> None:
        from django.db import Error, connection, transaction

        from tests.history.path.notes import HOLD, is_there

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
            while is_there(HOLD) and not self._stop.is_set():
                self._stop.wait(0.1)
        connection.close()

    def _transact(self) -> None:
        from tests.history.path.tables import KEYS

        chance = self._random.random
        keys = sorted(self._random.sample(range(KEYS), self._random.choice([1, 1, 2, 4, 6])))
        step({key: self._random.randint(1, 6) for key in keys})
        if chance() < 0.1:
            self._step_within({keys[-1]: 2}, undo=chance() < 0.6)
            if chance() < 0.5:
                step({keys[0]: 1})
        if chance() < 0.004:
            self._stop.wait(self._random.uniform(0.3, 2.5))  # ids above its own are committed before it
        if chance() < 0.07:
            raise Undone

    def _step_within(self, amounts: dict[int, int], *, undo: bool) -> None:
        from django.db import transaction

        try:
            with transaction.atomic():
                step(amounts)
                if undo:
                    raise Undone
        except Undone:
            pass


def step(amounts: dict[int, int]) -> None:
    """Count so many steps of each key, under its lock, and publish them."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(LOCK, [list(amounts)])
        cursor.execute(COUNT, [list(amounts), list(amounts.values())])
        numbers = {key: range(before + 1, before + amount + 1) for key, before, amount in cursor.fetchall()}
    publish_steps([(key, number) for key, each in numbers.items() for number in each])


def publish_steps(pairs: Sequence[tuple[int, int]]) -> None:
    """Publish steps, given as key and number, and write that down in the same transaction, and beside it."""
    from django.db import connection

    from django_eventbus import publish_many
    from tests.history.path.events import Stepped
    from tests.history.path.notes import note

    ids = publish_many([Stepped(key=str(key), number=number) for key, number in pairs])
    note("published", "\n".join(map(str, ids)))
    with connection.cursor() as cursor:
        cursor.execute(PUBLISHED, [ids, [key for key, _ in pairs], [number for _, number in pairs]])


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
