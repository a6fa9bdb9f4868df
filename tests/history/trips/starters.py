"""Whoever starts trips: a row, an event that starts the saga, and one that may come before it, in one transaction.

``python -m tests.history.trips.starters SEED`` starts so many as ``HISTORY_SAGAS`` says and waits for SIGTERM.
"""

from __future__ import annotations

import faulthandler
import os
import random
import signal
import sys
import threading

PAUSE = float(os.environ.get("HISTORY_PAUSE", "0.1"))  # seconds between two trips of one process, on average
SAGAS = int(os.environ.get("HISTORY_SAGAS", "0"))

NEXT = "UPDATE trip_counter SET value = value + 1 WHERE value < %s RETURNING value"
STARTED = "INSERT INTO trip_started (trip) VALUES (%s)"


def start_all(stop: threading.Event, chance: random.Random) -> None:
    from django.db import Error, connection

    while not stop.is_set():
        try:
            if not start_one(chance):
                break
        except Error:
            connection.close()  # a backend was ended: whether the commit came through, only the database knows
        stop.wait(chance.expovariate(1 / PAUSE))
    connection.close()
    stop.wait()


def start_one(chance: random.Random) -> bool:
    from django.db import connection, transaction

    from django_eventbus import publish
    from tests.history.trips.events import Hinted, Started

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(NEXT, [SAGAS])
        row = cursor.fetchone()
        if row is None:
            return False
        trip = f"t{row[0]}"
        cursor.execute(STARTED, [trip])
        for event in chance.sample([Started(trip=trip), Hinted(trip=trip)], 2):
            publish(event)
        if chance.random() < 0.05:
            transaction.set_rollback(True)
    return True


def main(seed: str) -> None:
    import django

    django.setup()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    faulthandler.register(signal.SIGUSR1)  # tells where one hangs that does not end
    start_all(stop, random.Random(seed))


if __name__ == "__main__":
    main(sys.argv[1])
