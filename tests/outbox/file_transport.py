"""A transport whose broker is a file: what several processes send shows there in its order, with who sent it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from django_eventbus.conf import BusConfig
from django_eventbus.events.envelope import OutgoingRow
from django_eventbus.transports.base import Capabilities, Consumer, ConsumerOptions, SendResult


class Line(NamedTuple):
    """One record of the file."""

    pid: int
    key: str
    payload: str


class FileSender:
    def __init__(self, path: Path, *, delay: float) -> None:
        self._path = path
        self._delay = delay

    def send(self, rows: Sequence[OutgoingRow], *, deadline: float) -> SendResult:
        lines = [json.dumps([os.getpid(), (row[2] or b"").decode(), (row[4] or b"").decode()]) for row in rows]
        with self._path.open("a") as log:
            log.write("".join(line + "\n" for line in lines))
        time.sleep(self._delay)
        return SendResult(acked=[row[0] for row in rows])

    def serve(self) -> None:
        pass

    def close(self) -> None:
        pass


class FileTransport:
    """Append to the file that OPTIONS names."""

    capabilities = Capabilities(ordered=True, consumable=False, replayable=False, max_message_bytes=None)

    def __init__(self, config: BusConfig) -> None:
        self._options = config.options

    def open_sender(self, *, client_id: str) -> FileSender:
        return FileSender(Path(self._options["path"]), delay=self._options.get("delay", 0.0))

    def open_consumer(self, options: ConsumerOptions) -> Consumer:
        raise NotImplementedError

    def missing_topics(self, topics: Collection[str]) -> set[str]:
        return set()

    def create_topics(self, topics: Collection[str]) -> None:
        pass


def read_lines(path: Path) -> list[Line]:
    return [Line(*json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
