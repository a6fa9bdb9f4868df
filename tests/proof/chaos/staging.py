"""What does a fault need around it, and how is all of it taken away again?"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.proof.chaos.phases import run_phases
from tests.proof.chaos.results import Result
from tests.proof.chaos.scene import Equipment, Fault, Scene, say
from tests.proof.load.database import LoadServer
from tests.proof.load.running import Load
from tests.services import run
from tests.services.kafka import KafkaBroker

NAME = "load"


def try_fault(
    fault: Fault, *, broker: KafkaBroker, seed: int, rate: float, seconds: float, logs: Path | None = None
) -> Result:
    """Bring about one fault on a database server, topic and processes of its own; never raises for what it finds."""
    began, result = time.monotonic(), Result.of(fault)
    if reason := fault.why_not():
        result.skipped = reason
        return result
    try:
        with staged(fault, broker=broker, seed=seed, rate=rate, logs=logs) as scene:
            scene.load.start()
            result = run_phases(scene, fault, seconds=seconds)
    except Exception as error:  # noqa: BLE001  one fault that comes to no end must not end the others
        traceback.print_exc()
        result.failed = f"{type(error).__name__}: {error}"
        if broker.process.process is None:
            broker.start()
    result.seconds = time.monotonic() - began
    say(f"{fault.name}: {', '.join([*result.findings, *result.missed, *result.ended_alone]) or 'goal met'}")
    return result


@contextmanager
def staged(fault: Fault, *, broker: KafkaBroker, seed: int, rate: float, logs: Path | None) -> Iterator[Scene]:
    """Make servers, database, topic and the load, all of which end with the block."""
    topic = f"{NAME}-{fault.name}"
    with ExitStack() as stack:
        folder = scratch(stack, logs, fault.name)
        server = LoadServer.create()
        stack.callback(shutil.rmtree, server.folder, ignore_errors=True)
        equipment = Equipment(server=server, folder=folder)
        stack.callback(lambda: [undo() for undo in equipment.undo])
        fault.equip(equipment)
        server.start()
        stack.callback(server.stop)
        load = Load(
            url=server.new_database(NAME, tablespace=equipment.tablespace),
            broker=broker.address,
            topic=topic,
            folder=folder,
            rate=rate,
            seed=seed,
            extra=equipment.extra,
        )
        load.prepare()
        stack.callback(load.stop)
        yield Scene(
            load=load,
            random=random.Random(f"{seed}/{fault.name}"),
            server=server,
            broker=broker,
            equipment=equipment.tools,
        )


def scratch(stack: ExitStack, logs: Path | None, name: str) -> Path:
    """Return a folder for what processes print, which stays where the caller asked for it."""
    if logs is not None:
        (logs / name).mkdir(parents=True)
        return logs / name
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=run.folder()))
    os.chmod(folder, 0o755)  # the database's user reads dials and libraries in it
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder
