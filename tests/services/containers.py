"""The services as containers, where a Docker daemon answers; their images are settings."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.services import run
from tests.services.process import accepts_connections, free_port

POSTGRES_IMAGE = os.environ.get("EVENTBUS_TEST_POSTGRES_IMAGE", "postgres:17")
KAFKA_IMAGE = os.environ.get("EVENTBUS_TEST_KAFKA_IMAGE", "apache/kafka-native:4.1.1")


def can_start(service: str) -> bool:
    return run.may_come_from(service, "containers") and daemon_answers()


@functools.cache
def daemon_answers() -> bool:
    if not os.environ.get("DOCKER_HOST") and not Path("/var/run/docker.sock").exists():
        return False
    try:
        import docker

        client = docker.from_env(timeout=5)
        client.ping()
        client.close()
    except Exception:  # noqa: BLE001 - whatever the reason, there is no daemon to use
        return False
    return True


def start_postgres(settings: Mapping[str, str]) -> dict[str, str]:
    from testcontainers.community.postgres import PostgresContainer

    ours = {
        name: value for name, value in settings.items() if name not in ("listen_addresses", "unix_socket_directories")
    }
    command = " ".join(["postgres", *(f"-c {name}={value}" for name, value in ours.items())])
    container = PostgresContainer(
        POSTGRES_IMAGE, username="postgres", password="postgres", dbname="postgres", driver=None
    )
    container.with_command(command).start()
    return {
        "url": container.get_connection_url(driver=None),
        "container": identity(container),
        "source": POSTGRES_IMAGE,
    }


def start_kafka() -> dict[str, str]:
    """Start Apache's own image; its advertised port has to be known before it starts, so it is picked here."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    from tests.services.kafka import PROPERTIES

    port = free_port()
    properties = PROPERTIES | {
        "controller.quorum.voters": "1@localhost:9093",
        "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
    }
    environment = {"KAFKA_" + name.upper().replace(".", "_"): value for name, value in properties.items()}
    container = DockerContainer(KAFKA_IMAGE).with_envs(CLUSTER_ID="MkU3OEVBNTcwNTJENDM2Qg", **environment)
    container.with_bind_ports(9092, port).waiting_for(LogMessageWaitStrategy("Kafka Server started")).start()
    deadline = time.monotonic() + 30
    while not accepts_connections(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    return {"address": f"127.0.0.1:{port}", "container": identity(container), "source": KAFKA_IMAGE}


def identity(container: Any) -> str:
    name: str = container.get_wrapped_container().id
    return name


def remove(name: str) -> None:
    import docker

    client = docker.from_env()
    client.containers.get(name).remove(force=True, v=True)
    client.close()
