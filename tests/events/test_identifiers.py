from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from uuid import RFC_4122

from django_eventbus.events.identifiers import MonotonicUuid7, uuid7


def test_an_id_is_a_uuid7_of_now() -> None:
    before = time.time_ns() // 1_000_000

    made = uuid7()

    assert (made.version, made.variant) == (7, RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000 + 1


def test_ids_rise_strictly() -> None:
    made = MonotonicUuid7()

    ids = [made() for _ in range(20_000)]

    assert all(earlier < later for earlier, later in pairwise(ids))


def test_ids_rise_while_the_clock_goes_back() -> None:
    clock = iter([5_000_000_000, 4_000_000_000, 3_000_000_000, 5_000_000_001])
    made = MonotonicUuid7(clock=lambda: next(clock))

    ids = [made() for _ in range(4)]

    assert ids == sorted(set(ids))
    assert {found.int >> 80 for found in ids} == {5_000}


def test_threads_never_share_an_id() -> None:
    made = MonotonicUuid7()

    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda _: [made() for _ in range(2_000)], range(8)))

    assert len({found for batch in batches for found in batch}) == 16_000


def test_a_forked_child_makes_ids_of_its_own() -> None:
    # In a process of its own: a fork copies whatever threads and clients earlier tests have left behind.
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    counters = [int(line, 16) >> 32 for line in done.stdout.split()]
    assert len(set(counters)) == len(counters) == 8_000


# A clock that stands still leaves it to the counter alone to keep processes apart.
FORK = """
import os, sys
from django_eventbus.events import identifiers

def print_ids():
    sys.stdout.write("".join(identifiers._own().hex + "\\n" for _ in range(2_000)))
    sys.stdout.flush()

identifiers._own._clock = lambda: 5_000_000_000
identifiers._own()
for _ in range(3):
    child = os.fork()
    if child == 0:
        print_ids()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
print_ids()
"""
