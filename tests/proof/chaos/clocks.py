"""Faults of clocks: the wall clock of one kind of process jumps, forward and back, while the others' goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.proof.chaos.scene import Equipment, Fault, Scene
from tests.proof.chaos.shims import cannot_compile, shim, turn

HOUR = 3600
# As seen from the true time. By default Kafka refuses records that are more than an hour ahead of its own clock.
JUMPS = (HOUR, 0, -HOUR, 0, 2 * HOUR, -2 * HOUR, 0)
# What waits for a retry waits by the database's clock: a time that was set while it was ahead comes no sooner for its
# being put right. So this clock falls back and is put right, and jumps ahead for good.
JUMPS_OF_THE_DATABASE = (-HOUR, 0, -2 * HOUR, 0, HOUR)
BETWEEN = 4.0  # seconds between two jumps


def fake(equipment: Equipment) -> dict[str, str]:
    """Return the environment in which a process takes its wall clock from a file, and no other clock."""
    equipment.tools["dial"], environment = shim("jumping_clock", equipment.folder, variable="CLOCK_OFFSET")
    return environment


def fake_crew(name: str) -> Callable[[Equipment], None]:
    def equip(equipment: Equipment) -> None:
        equipment.extra[name] = fake(equipment)

    return equip


def fake_database(equipment: Equipment) -> None:
    equipment.server.environment |= fake(equipment)


def jump(scene: Scene) -> None:
    dial: Path = scene.equipment["dial"]
    for offset in scene.equipment["jumps"]:
        turn(dial, offset)
        scene.hold(BETWEEN)


def clock_fault(whose: str, equip: Callable[[Equipment], None], jumps: tuple[int, ...] = JUMPS) -> Fault:
    def equip_and_plan(equipment: Equipment) -> None:
        equip(equipment)
        equipment.tools["jumps"] = jumps

    told = ", ".join(f"{offset // HOUR:+} h" if offset else "true" for offset in jumps)
    return Fault(
        name=f"clock-{whose}",
        what=f"clock of {whose} jumps: {told}",
        strike=jump,
        equip=equip_and_plan,
        why_not=cannot_compile,
    )


FAULTS = (
    clock_fault("relays", fake_crew("relay")),
    clock_fault("consumers", fake_crew("consumer")),
    clock_fault("writers", fake_crew("writer")),
    clock_fault("database", fake_database, JUMPS_OF_THE_DATABASE),
)
