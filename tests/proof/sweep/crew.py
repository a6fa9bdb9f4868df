"""How are several trials made at once? Each member is a process with a database, a folder and a broker of its own."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, Pipe, wait

from django.db import connection, connections

from tests.proof.sweep import mock_kafka
from tests.proof.sweep import settings as own
from tests.proof.sweep.trials import Trial, Verdict, attempt, require_bareness


class Crew:
    """Fork so many members, which end with this process."""

    def __init__(self, size: int) -> None:
        require_bareness()
        self._lines: list[Connection] = []
        self._pids: list[int] = []
        for number in range(size):
            mine, theirs = Pipe()
            pid = os.fork()
            if pid == 0:
                for line in [mine, *self._lines]:
                    line.close()  # else a member would never hear that its parent is gone
                _be_member(number, theirs)
            theirs.close()
            self._lines.append(mine)
            self._pids.append(pid)

    def attempt(self, trials: Iterable[Trial], *, is_over: Callable[[], bool]) -> Iterator[tuple[Trial, Verdict]]:
        """Make the trials as members get free, until all are made or it is over."""
        waiting, idle, busy = iter(trials), list(self._lines), dict[Connection, Trial]()
        while True:
            while idle and not is_over() and (trial := next(waiting, None)) is not None:
                line = idle.pop()
                line.send(trial)
                busy[line] = trial
            if not busy:
                return
            for line in [line for line in wait(list(busy), timeout=1.0) if isinstance(line, Connection)]:
                idle.append(line)
                yield busy.pop(line), line.recv()

    def close(self) -> None:
        for line in self._lines:
            line.close()
        for pid in self._pids:
            os.waitpid(pid, 0)


def room(number: int) -> str:
    """Return the name of a member's database, on a server."""
    return f"{own.DATABASES['default']['NAME']}_{number}"


def _be_member(number: int, line: Connection) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # its parent's only notes it
    try:
        _move_in(number)
        with mock_kafka.mock_cluster():
            while True:
                line.send(attempt(line.recv()))
    except EOFError:
        os._exit(0)
    # Whatever it is, this process must not go on as a second parent.
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


def _move_in(number: int) -> None:
    folder = own.folder() / str(number)
    folder.mkdir()
    os.environ["SWEEP_FOLDER"] = str(folder)
    name = room(number) if connection.vendor == "postgresql" else str(folder / "sweep.sqlite3")
    connections.settings["default"]["NAME"] = name
