"""How does a bus use a journal, and how is each call to a broker counted?"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from django_eventbus.conf import BusConfig
from django_eventbus.events.envelope import OutgoingRow
from django_eventbus.transports.base import (
    AssignmentListener,
    Capabilities,
    ConsumerOptions,
    Record,
    TopicPartition,
)
from django_eventbus.transports.memory import MemorySender
from tests.proof.sweep.journal import Journal
from tests.proof.sweep.points import points

PAUSE = 0.002  # seconds between two looks of a poll that found nothing


class Counted:
    """Count every call to what it stands for, but for those about nothing, and those without an answer."""

    def __init__(self, target: object) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        return partial(self._call, name, found) if callable(found) else found

    def _call(self, name: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if arguments and not arguments[0]:
            return method(*arguments, **options)
        with points.point(f"{type(self._target).__name__}.{name}") as passing:
            answer = method(*arguments, **options)
            passing.was_idle = answer is not None and not answer
        return answer


class Receiver:
    """Be the broker that a sender of the memory transport writes to; each record, and each ack, is a point."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def receive(self, row: OutgoingRow) -> Any:
        with points.point(f"record {row[1]}"):
            return self._journal.append(row)


class JournalConsumer:
    """Read a journal as the one member of a group."""

    def __init__(self, journal: Journal, group: str) -> None:
        self._journal = journal
        self._group = group
        self._topics: frozenset[str] = frozenset()
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._ended: dict[TopicPartition, int] = {}
        self._listener: Any = None

    def subscribe(self, topics: Collection[str], *, listener: AssignmentListener) -> None:
        self._topics, self._listener = frozenset(topics), Counted(listener)

    def poll(self, *, timeout: float, limit: int) -> list[Record]:
        until = time.monotonic() + timeout
        while True:
            self._rebalance()
            if records := self._take(limit):
                return records
            self._report_ends()
            if time.monotonic() >= until:
                return []
            time.sleep(PAUSE)

    def store(self, positions: Mapping[TopicPartition, int]) -> None:
        """Commit at once: the earliest that a client in the background may do it."""
        mine = {place: offset for place, offset in positions.items() if place in self._positions}
        if self._journal.is_member(self._group):
            self._journal.commit(self._group, mine)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition in self._positions:
            self._positions[partition] = offset
            self._ended.pop(partition, None)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        self._paused |= self.assignment().intersection(partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        self._paused -= set(partitions)

    def assignment(self) -> set[TopicPartition]:
        return set(self._positions)

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int | None]:
        known = self._journal.committed(self._group)
        return {place: known.get(place) for place in partitions}

    def first_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return {place: len(self._journal.read(place, start=0)) for place in partitions}

    def partitions_of(self, topics: Collection[str]) -> set[TopicPartition]:
        return self._journal.places(topics)

    def close(self) -> None:
        if self._positions:
            self._listener.revoked(self.assignment())
        self._positions.clear()
        self._journal.leave(self._group)

    def _rebalance(self) -> None:
        if self._positions and not self._journal.is_member(self._group):
            lost = self.assignment()
            self._positions.clear()
            self._listener.lost(lost)
        if not self._positions and self._journal.join(self._group):
            known = self._journal.committed(self._group)
            self._positions = {place: known.get(place, 0) for place in self._journal.places(self._topics)}
            self._paused, self._ended = set(), {}
            self._listener.assigned(self.assignment())

    def _take(self, limit: int) -> list[Record]:
        found: list[Record] = []
        for place in sorted(self.assignment() - self._paused):
            records = self._journal.read(place, start=self._positions[place])[: limit - len(found)]
            self._positions[place] += len(records)
            found += records
        return found

    def _report_ends(self) -> None:
        for place in sorted(self.assignment() - self._paused):
            end = self._positions[place]
            if self._ended.get(place) != end:
                self._ended[place] = end
                self._listener.reached_end(place, end)


class JournalTransport:
    """Move bytes over the folder that OPTIONS names."""

    capabilities = Capabilities(ordered=True, consumable=True, replayable=True, max_message_bytes=None)

    def __init__(self, config: BusConfig) -> None:
        self._journal = Journal(Path(config.options["folder"]))

    def open_sender(self, *, client_id: str) -> Any:
        broker: Any = Receiver(self._journal)
        return Counted(MemorySender(broker))

    def open_consumer(self, options: ConsumerOptions) -> Any:
        return Counted(JournalConsumer(self._journal, options.group))

    def missing_topics(self, topics: Collection[str]) -> set[str]:
        return set()

    def create_topics(self, topics: Collection[str]) -> None: ...
