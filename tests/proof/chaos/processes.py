"""Faults of our own processes: killed, frozen, joining and leaving all the time."""

from __future__ import annotations

import subprocess
import sys

from tests.history.members import ROOT
from tests.proof.chaos.scene import Fault, From, Scene
from tests.proof.load.running import GRACE, SESSION

KILLS = 3
BETWEEN = 3.0  # seconds between two kills
FROZEN = GRACE + 12.0  # seconds
STORM = 15.0
STORMY_MEMBERS = 2


def kill_relays(scene: Scene) -> None:
    """Kill the one at work; what it has begun goes back, and its standby goes on."""
    for turn in range(KILLS):
        if turn:
            scene.hold(BETWEEN)
        scene.kill(scene.load.relays, scene.active_relay())


def kill_consumers(scene: Scene) -> None:
    crew = scene.load.consumers
    for turn in range(KILLS):
        if turn:
            scene.hold(BETWEEN)
        scene.kill(crew, scene.random.choice(crew.members))


def kill_everybody(scene: Scene) -> None:
    for crew in scene.load.crews:
        for member in crew.members:
            scene.kill(crew, member)


def freeze_relay(scene: Scene) -> None:
    """Stop the one at work in whatever it does; it wakes up when another has long been at work."""
    member = scene.active_relay()
    scene.freeze(member)
    scene.hold(FROZEN)
    scene.thaw(member)


def freeze_consumer(scene: Scene) -> None:
    member = scene.random.choice(scene.load.consumers.members)
    scene.freeze(member)
    scene.hold(FROZEN)
    scene.thaw(member)


def storm(scene: Scene) -> None:
    """Let members join the group and leave it, each after about a second, with all that a worker does meanwhile."""
    command = [sys.executable, "-m", "tests.proof.chaos.restless", str(STORMY_MEMBERS), str(scene.random.random())]
    with (scene.load.folder / "restless.log").open("wb") as log:
        environment = scene.load.environment()
        restless = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=log)
    assert restless.stdout is not None
    restless.stdout.readline()  # it says when it begins
    scene.hold(STORM)
    restless.terminate()
    try:
        restless.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        restless.kill()
        restless.wait()


FAULTS = (
    Fault(
        name="relays-killed",
        what=f"the relay at work killed {KILLS} times, every {BETWEEN:.0f} s",
        strike=kill_relays,
        needs_servers=False,
    ),
    Fault(
        name="consumers-killed",
        what=f"a consumer killed {KILLS} times, every {BETWEEN:.0f} s (session time-out {SESSION:.0f} s)",
        strike=kill_consumers,
        needs_servers=False,
    ),
    Fault(
        name="everybody-killed",
        what="all writers, relays and consumers killed at once",
        strike=kill_everybody,
        needs_servers=False,
    ),
    Fault(
        name="relay-frozen",
        what=f"the relay at work frozen for {FROZEN:.0f} s; counted from its beginning (GRACE {GRACE:.0f} s)",
        strike=freeze_relay,
        counts_from=From.BEGIN,
        limit=GRACE + 10,
        needs_servers=False,
    ),
    Fault(
        name="consumer-frozen",
        what=f"a consumer frozen for {FROZEN:.0f} s; counted from its beginning (GRACE {GRACE:.0f} s)",
        strike=freeze_consumer,
        counts_from=From.BEGIN,
        limit=GRACE + 10,
        needs_servers=False,
    ),
    Fault(
        name="rebalance-storm",
        what=f"{STORMY_MEMBERS} members join and leave about every second for {STORM:.0f} s",
        strike=storm,
        needs_servers=False,
    ),
)
