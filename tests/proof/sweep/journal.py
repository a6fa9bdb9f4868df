"""What is a broker whose records outlive every process that talks to it, and that answers at once? A folder.

A record is a line, written by one call of the system, so a kill leaves it whole or not there. A group has one member at
a time: who dies is replaced at once, who is expelled learns of it with its next poll.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django_eventbus.events.envelope import OutgoingRow, split_headers
from django_eventbus.events.keys import murmur2
from django_eventbus.transports.base import Failure, FailureKind, Record, TopicPartition
from tests.proof.sweep.settings import folder
from tests.services.keeper import is_alive

PARTITIONS = 1  # of a topic; a group reads two topics


class Journal:
    """Keep topics and groups in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    # Records

    def append(self, row: OutgoingRow) -> Failure | None:
        """Write a row behind the others of its partition, or say why not."""
        _, topic, key, headers, payload = row
        if failure := self._fault_of(row):
            return failure
        number = (murmur2(key) & 0x7FFFFFFF) % PARTITIONS if key else 0
        self.write(TopicPartition(topic, number), key=key, value=payload, headers=dict(split_headers(headers)))
        return None

    def write(
        self, place: TopicPartition, *, key: bytes | None, value: bytes | None, headers: Mapping[str, str]
    ) -> None:
        """Write any record."""
        texts = [None if part is None else part.hex() for part in (key, value)]
        line = json.dumps([*texts, dict(headers), datetime.now(UTC).isoformat()]) + "\n"
        descriptor = os.open(self._log(place), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def read(self, place: TopicPartition, *, start: int) -> list[Record]:
        """Return the records of a partition from an offset on."""
        path = self._log(place)
        lines = path.read_text().splitlines() if path.exists() else []
        return [_record(place, start + index, line) for index, line in enumerate(lines[start:])]

    def places(self, topics: Collection[str]) -> set[TopicPartition]:
        """Return the partitions of topics: all topics exist."""
        return {TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)}

    def records(self) -> list[Record]:
        """Return everything, partition by partition."""
        found: list[Record] = []
        for path in sorted(self._folder.glob("*.log")):
            topic, _, number = path.name.removesuffix(".log").rpartition("@")
            found += self.read(TopicPartition(topic, int(number)), start=0)
        return found

    # Faults

    def refuse(self, *, key: str, number: int, kind: FailureKind, times: int = -1) -> None:
        """Refuse one record so many times; for ever, without a number of times."""
        faults = self._load("faults")
        self._save("faults", faults | {f"{key}/{number}": [kind.value, times]})

    def heal(self) -> None:
        """Refuse nothing any more."""
        self._save("faults", {})

    def _fault_of(self, row: OutgoingRow) -> Failure | None:
        faults = self._load("faults")
        if not faults:
            return None
        data = json.loads(row[4] or b"{}")
        name = f"{data.get('key')}/{data.get('number')}"
        kind, times = faults.get(name, ("", 0))
        if not times:
            return None
        self._save("faults", faults | {name: [kind, times - 1]})
        return Failure(FailureKind(kind), "INJECTED")

    # Groups

    def committed(self, group: str) -> dict[TopicPartition, int]:
        """Return the next offsets of a group."""
        offsets = self._load(f"{group}.offsets")
        return {TopicPartition(*_place(name)): offset for name, offset in offsets.items()}

    def commit(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        known = self._load(f"{group}.offsets")
        self._save(f"{group}.offsets", known | {f"{topic}@{number}": at for (topic, number), at in offsets.items()})

    def join(self, group: str) -> bool:
        """Become the group's member where it has none; say whether this process is it."""
        with self._locked(group):
            member = self._load(f"{group}.member").get("pid")
            if member is None or not is_alive(member):
                self._save(f"{group}.member", {"pid": os.getpid()})
                return True
            return bool(member == os.getpid())

    def leave(self, group: str) -> None:
        with self._locked(group):
            if self.is_member(group):
                self._save(f"{group}.member", {})

    def expel(self, group: str) -> None:
        """Take the group from a member that does not answer, as a broker does when its session ends."""
        with self._locked(group):
            self._save(f"{group}.member", {})

    def is_member(self, group: str) -> bool:
        return bool(self._load(f"{group}.member").get("pid") == os.getpid())

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with (self._folder / f"{name}.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _log(self, place: TopicPartition) -> Path:
        return self._folder / f"{place.topic}@{place.number}.log"

    def _load(self, name: str) -> dict[str, Any]:
        try:
            loaded: dict[str, Any] = json.loads((self._folder / f"{name}.json").read_text())
        except FileNotFoundError:
            return {}
        return loaded

    def _save(self, name: str, values: Mapping[str, Any]) -> None:
        draft = self._folder / f"{name}.{os.getpid()}.draft"
        draft.write_text(json.dumps(values))
        draft.replace(self._folder / f"{name}.json")  # whole, or not at all


def journal() -> Journal:
    """Return that of this process."""
    return Journal(folder() / "journal")


def _record(place: TopicPartition, offset: int, line: str) -> Record:
    key, value, headers, at = json.loads(line)
    return Record(
        topic=place.topic,
        partition=place.number,
        offset=offset,
        key=None if key is None else bytes.fromhex(key),
        value=None if value is None else bytes.fromhex(value),
        headers=[(name, text.encode()) for name, text in headers.items()],
        received_at=datetime.fromisoformat(at),
    )


def _place(name: str) -> tuple[str, int]:
    topic, _, number = name.rpartition("@")
    return topic, int(number)
