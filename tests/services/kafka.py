"""Where Apache Kafka comes from: the environment, Docker, or its jars with a JDK."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from tests.services import containers, jars, run
from tests.services.process import ServerProcess, free_port

ADDRESS = "EVENTBUS_TEST_KAFKA"
PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "inter.broker.listener.name": "PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "1000",
    "broker.session.timeout.ms": "3000",  # so long a broker that was killed waits before it may register again
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.dedupe.buffer.size": "4194304",
}


def address() -> str:
    """Return host:port of the run's Kafka, which the first caller of the run starts."""
    if given := os.environ.get(ADDRESS):
        return given
    return run.shared_address("kafka", start_shared)["address"]


def is_available() -> bool:
    return bool(os.environ.get(ADDRESS)) or jars.are_obtainable() or containers.can_start("kafka")


def missing() -> str:
    return f"no {ADDRESS}, no Docker daemon, {jars.missing()}"


def start_shared() -> dict[str, str]:
    if containers.can_start("kafka"):
        return containers.start_kafka()
    broker = KafkaBroker.create()
    broker.start()
    return {"address": broker.address, "keeper": str(broker.process.leave_running()), "source": str(broker.jars)}


@dataclass(kw_only=True)
class KafkaBroker:
    """One broker, also its own controller, in a scratch folder; a test that stops and starts it uses one of its own."""

    jars: Path
    folder: Path
    port: int
    process: ServerProcess = field(init=False)

    def __post_init__(self) -> None:
        # Its data is scratch: killing it saves the seconds of a controlled shutdown.
        self.process = ServerProcess(folder=self.folder, log=self.folder / "server.log", stop_signal=signal.SIGKILL)

    @classmethod
    def create(cls) -> KafkaBroker:
        libraries = jars.fetched()
        folder = Path(tempfile.mkdtemp(prefix="kafka-", dir=run.folder()))
        broker = cls(jars=libraries, folder=folder, port=free_port())
        broker.format()
        return broker

    def format(self) -> None:
        controller = free_port()
        listeners = f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}"
        properties = PROPERTIES | {
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "listeners": listeners,
            "advertised.listeners": listeners,
            "log.dirs": str(self.folder / "data"),
        }
        path = self.folder / "server.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        cluster = uuid.uuid4().hex[:22]
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(path), "--standalone"]
        with self.process.log.open("ab") as log:
            subprocess.run([*self.java(), *tool], check=True, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)

    def java(self) -> list[str]:
        return [jars.java(), "-Xmx512m", "-XX:+UseSerialGC", "-cp", f"{self.jars}/*"]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        seen = self.process.log.stat().st_size if self.process.log.exists() else 0
        command = [*self.java(), "kafka.Kafka", str(self.folder / "server.properties")]
        self.process.start(command, is_ready=lambda: b"Kafka Server started" in self.process.log.read_bytes()[seen:])

    def stop(self) -> None:
        self.process.stop()

    def forget(self) -> None:
        """Stop it and drop all its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
