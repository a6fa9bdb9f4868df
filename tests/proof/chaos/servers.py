"""Faults of the servers: the database restarts, crashes, ends sessions, is full; the broker goes away."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psycopg

from tests.proof.chaos.scene import END_SESSIONS, OF_THE_LOAD, Equipment, Fault, Scene

SHORT = 1.0  # seconds between the end of a server and its start
OUTAGE = 60.0
KILLS = 5  # times that all sessions are ended
BETWEEN = 2.0  # seconds between two of them
MOST_TAKES = 20
CROWDED = 15.0  # seconds without a free connection
MOST_CONNECTIONS = 60


def restart_database(scene: Scene) -> None:
    scene.postgres.end(signal.SIGINT)
    scene.hold(SHORT)
    scene.postgres.start()


def crash_database(scene: Scene) -> None:
    scene.postgres.end(signal.SIGQUIT)
    scene.hold(SHORT)
    scene.postgres.start()


def crash_backend(scene: Scene) -> None:
    """Kill one server process, so that the postmaster throws out everybody and recovers."""
    postmaster = scene.postgres.postmaster()
    pid = scene.load.database.count(f"SELECT pid FROM pg_stat_activity WHERE {OF_THE_LOAD} ORDER BY random() LIMIT 1")
    assert Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1] == str(postmaster)
    os.kill(pid, signal.SIGKILL)
    scene.wait(lambda: not scene.postgres.answers(), patience=2.0)
    assert scene.wait(scene.postgres.answers)


def kill_sessions(scene: Scene) -> None:
    for turn in range(KILLS):
        if turn:
            scene.hold(BETWEEN)
        scene.end_sessions()


def crowd_out(scene: Scene) -> None:
    """Take every connection that there is, also those of the load, and keep them."""
    others: list[psycopg.Connection[Any]] = []
    with scene.load.database.connect() as observer:
        try:
            for _ in range(MOST_TAKES):  # who comes back between an end and a taking is thrown out by the next
                ended = observer.execute(END_SESSIONS).fetchone()
                _take_all(scene.load.url, others)
                if ended == (0,):
                    break
            scene.hold(CROWDED)
        finally:
            for session in others:
                session.close()


def _take_all(url: str, others: list[psycopg.Connection[Any]]) -> None:
    try:
        while True:
            others.append(psycopg.connect(url, application_name="other", connect_timeout=5))
    except psycopg.OperationalError:
        return


def limit_connections(equipment: Equipment) -> None:
    equipment.server.settings["max_connections"] = str(MOST_CONNECTIONS)


def restart_broker(scene: Scene) -> None:
    scene.kafka.stop()
    scene.kafka.start()


def part_from_broker(scene: Scene) -> None:
    scene.kafka.stop()
    scene.hold(OUTAGE)
    scene.kafka.start()


FAULTS = (
    Fault(name="database-restart", what="PostgreSQL restarted (fast)", strike=restart_database),
    Fault(name="database-crash", what="PostgreSQL ended at once, recovers from its log", strike=crash_database),
    Fault(name="backend-crash", what="one server process of PostgreSQL killed with SIGKILL", strike=crash_backend),
    Fault(
        name="sessions-ended",
        what=f"all database sessions ended {KILLS} times, every {BETWEEN:.0f} s",
        strike=kill_sessions,
        needs_servers=False,
    ),
    Fault(
        name="connections-exhausted",
        what=f"others hold all connections for {CROWDED:.0f} s",
        strike=crowd_out,
        equip=limit_connections,
    ),
    Fault(name="broker-restart", what="Kafka killed and started again", strike=restart_broker),
    Fault(name="broker-outage", what=f"Kafka away for {OUTAGE:.0f} s", strike=part_from_broker),
)
