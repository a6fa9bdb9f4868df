"""Faults of the database's disk: it is full, where the tables are or where the log is, or it is slow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.proof.chaos.scene import Equipment, Fault, Scene
from tests.proof.chaos.shims import cannot_compile, shim, turn
from tests.services.process import unprivileged_user

FULL = 15.0  # seconds
SLOW = 15.0  # seconds
DELAY = 300  # milliseconds of each flush meanwhile
DATA_SIZE, LOG_SIZE = "96m", "24m"
LOG_SEGMENT = "1"  # MB: small ones, so that a full disk is soon noticed


def cannot_mount() -> str:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "only root can mount a small file system, on Linux"
    probe = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    return "" if probe.returncode == 0 else "this machine lets nobody mount a file system"


def mount_small(equipment: Equipment, name: str, size: str) -> Path:
    place = equipment.folder / name
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "none", str(place)], check=True)
    equipment.undo.append(lambda: subprocess.run(["umount", "--lazy", str(place)], check=False))
    inside = place / "postgres"
    inside.mkdir()
    if user := unprivileged_user():
        shutil.chown(inside, user)
    return inside


def small_tables(equipment: Equipment) -> None:
    """Put the load's database on a small file system of its own; the server's log stays where it is."""
    equipment.tablespace = mount_small(equipment, "tables", DATA_SIZE)
    equipment.tools["filler"] = equipment.tablespace.parent / "filler"


def small_log(equipment: Equipment) -> None:
    """Put the write-ahead log on a small file system."""
    server = equipment.server
    place = mount_small(equipment, "log", LOG_SIZE) / "pg_wal"
    command = [str(server.binaries / "pg_resetwal"), f"--wal-segsize={LOG_SEGMENT}", "-D", str(server.data)]
    user = server.process.user or None
    subprocess.run(command, check=True, cwd=server.folder, user=user, capture_output=True)
    subprocess.run(["cp", "-a", str(server.data / "pg_wal"), str(place)], check=True)
    shutil.rmtree(server.data / "pg_wal")
    (server.data / "pg_wal").symlink_to(place)
    server.settings |= {"min_wal_size": "2MB", "max_wal_size": "8MB"}
    equipment.tools["filler"] = place.parent.parent / "filler"


def fill(place: Path) -> None:
    """Leave no byte on a small file system."""
    with place.open("wb", buffering=0) as filler:
        for size in (1 << 20, 4096):
            try:
                while filler.write(b"\0" * size):
                    pass
            except OSError:
                continue


def fill_tables(scene: Scene) -> None:
    filler: Path = scene.equipment["filler"]
    fill(filler)
    scene.hold(FULL)
    filler.unlink()


def fill_log(scene: Scene) -> None:
    """Fill the log's disk until the server gives up; make room, and start the server where it has ended."""
    filler: Path = scene.equipment["filler"]
    fill(filler)
    scene.wait(lambda: not scene.postgres.answers(), patience=4 * FULL)
    scene.hold(2.0)
    filler.unlink()
    if scene.postgres.has_ended():
        scene.postgres.start()
    assert scene.wait(scene.postgres.answers)


def slow_flushes(equipment: Equipment) -> None:
    """Have each flush of the server held up for as long as a file says."""
    equipment.tools["dial"], environment = shim("slow_flush", equipment.folder, variable="FLUSH_DELAY")
    equipment.server.settings |= {"fsync": "on", "wal_sync_method": "fdatasync"}
    equipment.server.environment |= environment


def slow_down(scene: Scene) -> None:
    dial: Path = scene.equipment["dial"]
    turn(dial, DELAY)
    scene.hold(SLOW)
    turn(dial, 0)


FAULTS = (
    Fault(
        name="disk-full",
        what=f"no room for tables and indexes for {FULL:.0f} s",
        strike=fill_tables,
        equip=small_tables,
        why_not=cannot_mount,
    ),
    Fault(
        name="log-full",
        what="no room for the write-ahead log, until PostgreSQL gives up and is started again",
        strike=fill_log,
        equip=small_log,
        why_not=cannot_mount,
    ),
    Fault(
        name="disk-slow",
        what=f"each flush of PostgreSQL takes {DELAY} ms longer for {SLOW:.0f} s",
        strike=slow_down,
        equip=slow_flushes,
        why_not=cannot_compile,
    ),
)
