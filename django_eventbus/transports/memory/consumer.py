"""How does a member of a group read from a broker in memory?"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from time import monotonic

from django_eventbus.transports.base import AssignmentListener, ConsumerOptions, Record, TopicPartition

from .broker import Group, MemoryBroker


class MemoryConsumer:
    """Read records from a broker in memory; partitions move cooperatively, at the members' next polls."""

    def __init__(self, broker: MemoryBroker, options: ConsumerOptions) -> None:
        self.topics: frozenset[str] = frozenset()
        self._broker = broker
        self._reports_ends = options.report_ends
        with broker.changed:
            self._group = broker.groups.setdefault(options.group, Group())
        self._listener: AssignmentListener | None = None
        self._positions: dict[TopicPartition, int] = {}  # of assigned partitions
        self._stored: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._ended: dict[TopicPartition, int] = {}
        self._missing: set[str] = set()

    def subscribe(self, topics: Collection[str], *, listener: AssignmentListener) -> None:
        """Join the group for these topics."""
        self._listener = listener
        with self._broker.changed:
            self.topics = frozenset(topics)
            self._join()

    def poll(self, *, timeout: float, limit: int) -> list[Record]:
        """Return up to `limit` records, waiting at most `timeout` seconds for the first one."""
        until = monotonic() + timeout
        self._report_ends()
        while True:
            self._rebalance()
            with self._broker.changed:
                records = self._take(limit)
                remaining = until - monotonic()
                if not records and remaining > 0 and not self._is_stale() and not self._reached_ends():
                    self._broker.changed.wait(remaining)
            if not records:
                self._report_ends()
            if records or monotonic() >= until:
                return records

    def store(self, positions: Mapping[TopicPartition, int]) -> None:
        """Store next offsets, which the next poll commits; partitions no longer assigned are ignored."""
        self._stored |= {place: offset for place, offset in positions.items() if place in self.assignment()}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Continue an assigned partition at `offset`; a partition no longer assigned is ignored."""
        if partition in self.assignment():
            self._positions[partition] = offset
            self._ended.pop(partition, None)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        self._paused |= self.assignment().intersection(partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        self._paused -= set(partitions)

    def assignment(self) -> set[TopicPartition]:
        with self._broker.changed:
            return {place for place in self._positions if self._group.owners.get(place) is self}

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int | None]:
        """Return the group's committed offsets, None where it has none."""
        with self._broker.changed:
            return {place: self._group.committed.get(place) for place in partitions}

    def first_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offsets of the oldest records: nothing is ever deleted here."""
        return dict.fromkeys(partitions, 0)

    def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offsets that the next records will get."""
        with self._broker.changed:
            return {place: len(self._broker.topics[place.topic][place.number]) for place in partitions}

    def partitions_of(self, topics: Collection[str]) -> set[TopicPartition]:
        """Return the partitions of those topics that exist."""
        return self._broker.places(topics)

    def expire(self) -> None:
        """Throw this member out of its group, as a broker does with one that no longer answers."""
        with self._broker.changed:
            self._leave()

    def close(self) -> None:
        """Give partitions back (`revoked` is called), commit what was stored, leave the group."""
        self._give_back(self.assignment())
        with self._broker.changed:
            self._leave()
        self._positions.clear()
        self._listener = None

    def _join(self) -> None:
        if self not in self._group.members:
            self._group.members.append(self)
        self._broker.changed.notify_all()

    def _leave(self) -> None:
        if self in self._group.members:
            self._group.members.remove(self)
        for place in [place for place, owner in self._group.owners.items() if owner is self]:
            del self._group.owners[place]
        self._broker.changed.notify_all()

    def _is_stale(self) -> bool:
        return self._listener is not None and (
            self not in self._group.members or bool(self._unwanted()) or bool(self._wanted())
        )

    def _unwanted(self) -> set[TopicPartition]:
        return {place for place in self.assignment() if self._group.target(place) is not self}

    def _wanted(self) -> set[TopicPartition]:
        free = self._broker.places(self.topics) - self._group.owners.keys()
        return {place for place in free if self._group.target(place) is self}

    def _rebalance(self) -> None:
        if self._listener is None:
            return
        with self._broker.changed:
            lost = set() if self in self._group.members else set(self._positions)
            self._join()
            revoked = self._unwanted()
        if lost:
            self._forget(lost)
            self._listener.lost(lost)
        if revoked:
            self._give_back(revoked)
        self._commit()
        with self._broker.changed:
            gained = self._wanted()
            for place in gained:
                self._group.owners[place] = self
                self._positions[place] = self._group.committed.get(place, 0)
        if gained:
            self._listener.assigned(gained)
        self._report_missing()

    def _give_back(self, places: set[TopicPartition]) -> None:
        # Still assigned while the listener runs: what it stores now is committed before another member begins.
        if places and self._listener is not None:
            self._listener.revoked(places)
        self._commit()
        with self._broker.changed:
            for place in places:
                self._group.owners.pop(place, None)
            self._broker.changed.notify_all()
        self._forget(places)

    def _forget(self, places: set[TopicPartition]) -> None:
        for place in places:
            self._positions.pop(place, None)
            self._stored.pop(place, None)
            self._ended.pop(place, None)
        self._paused -= places

    def _commit(self) -> None:
        with self._broker.changed:
            self._group.committed |= {place: at for place, at in self._stored.items() if place in self.assignment()}
        self._stored.clear()

    def _take(self, limit: int) -> list[Record]:
        records: list[Record] = []
        now = datetime.now(UTC)
        for place in sorted(self.assignment() - self._paused):
            start = self._positions[place]
            chunk = self._broker.topics[place.topic][place.number][start : start + limit - len(records)]
            self._positions[place] = start + len(chunk)
            records += [record._replace(received_at=now) for record in chunk]
        return records

    def _reached_ends(self) -> dict[TopicPartition, int]:
        if not self._reports_ends:
            return {}
        ends = self.end_offsets(self.assignment() - self._paused)
        return {place: end for place, end in ends.items() if self._positions[place] >= end != self._ended.get(place)}

    def _report_ends(self) -> None:
        # Only once every record before the end has been returned by a poll.
        with self._broker.changed:
            ends = self._reached_ends()
        for place, end in sorted(ends.items()):
            self._ended[place] = end
            if self._listener is not None:
                self._listener.reached_end(place, end)

    def _report_missing(self) -> None:
        with self._broker.changed:
            missing = self.topics - self._broker.topics.keys()
        for topic in sorted(missing - self._missing):
            if self._listener is not None:
                self._listener.failed("UNKNOWN_TOPIC_OR_PART", f"topic {topic} does not exist")
        self._missing = set(missing)
