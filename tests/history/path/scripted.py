"""A writer that does one thing at a time, as its standard input tells it; each name is a session of its own.

``NAME step KEY AMOUNT`` locks and publishes, ``NAME publish KEY NUMBER`` publishes before it locks anything, ``NAME
commit`` commits. The answer to each line is the name on standard output, once it is done.
"""

from __future__ import annotations

import sys
import threading
from queue import SimpleQueue


class Session(threading.Thread):
    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.orders: SimpleQueue[list[str]] = SimpleQueue()

    def run(self) -> None:
        from django.db import transaction

        while True:
            order = self.orders.get()
            with transaction.atomic():
                while order != ["commit"]:
                    obey(order)
                    self._answer()
                    order = self.orders.get()
            self._answer()

    def _answer(self) -> None:
        sys.stdout.write(f"{self.name}\n")
        sys.stdout.flush()


def obey(order: list[str]) -> None:
    from django.db import connection

    from tests.history.path.writers import COUNT, publish_steps, step

    match order:
        case ["step", key, amount]:
            step({int(key): int(amount)})
        case ["publish", key, number]:
            publish_steps([(int(key), int(number))])
            with connection.cursor() as cursor:
                cursor.execute(COUNT, [[int(key)], [1]])


def main() -> None:
    import django

    django.setup()
    sessions: dict[str, Session] = {}
    for line in sys.stdin:
        name, *order = line.split()
        if name not in sessions:
            sessions[name] = Session(name)
            sessions[name].start()
        sessions[name].orders.put(order)


if __name__ == "__main__":
    main()
