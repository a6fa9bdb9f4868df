"""Which messages may run now, so that each key stays in order while different keys run side by side?"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(slots=True)
class _Lane(Generic[Item]):
    queue: deque[Item] = field(default_factory=deque)
    is_taken: bool = False


class Lanes(Generic[Item]):
    """Queue items per (partition, key); what was taken from a lane blocks it until it is released.

    Not thread-safe: whoever shares it brings a lock.
    """

    def __init__(self) -> None:
        self._lanes: dict[Hashable, dict[Hashable, _Lane[Item]]] = {}  # by partition, then by key
        self._ready: deque[tuple[Hashable, Hashable]] = deque()  # lanes with items and nobody at work
        self._ready_items = 0
        self._queued = 0
        self._leaving: dict[Hashable, set[Hashable]] = {}  # of dropped partitions: lanes that are still out
        self._out = 0

    def __len__(self) -> int:
        """Count the items that nobody has taken."""
        return self._queued

    @property
    def ready(self) -> int:
        """Count the items that could be taken now."""
        return self._ready_items

    @property
    def out(self) -> int:
        """Count the lanes that somebody is at work on."""
        return self._out

    def add(self, item: Item, *, partition: Hashable, key: Hashable) -> None:
        """Append an item to its lane."""
        lane = self._lane(partition, key)
        self._queued += 1
        lane.queue.append(item)
        if lane.is_taken:
            return
        self._ready_items += 1
        if len(lane.queue) == 1:
            self._ready.append((partition, key))

    def add_first(self, item: Item, *, partition: Hashable, key: Hashable) -> None:
        """Put an item before all others of its lane, and the lane before the others."""
        lane = self._lane(partition, key)
        self._queued += 1
        lane.queue.appendleft(item)
        if lane.is_taken:
            return
        self._ready_items += 1
        if len(lane.queue) == 1:
            self._ready.appendleft((partition, key))

    def take(self, limit: int, *, takers: int = 1) -> list[tuple[Hashable, Hashable, list[Item]]]:
        """Take items of ready lanes, in order; leave their share to the other idle takers.

        Returns (partition, key, items) of each lane; every one of them has to be released.
        """
        limit = min(limit, -(-self._ready_items // takers))
        taken: list[tuple[Hashable, Hashable, list[Item]]] = []
        while limit > 0 and self._ready:
            partition, key = self._ready.popleft()
            lane = self._lanes[partition][key]
            queue = lane.queue
            self._ready_items -= len(queue)
            lane.is_taken = True
            items = [queue.popleft() for _ in range(min(limit, len(queue)))]
            taken.append((partition, key, items))
            limit -= len(items)
            self._queued -= len(items)
        self._out += len(taken)
        return taken

    def release(self, partition: Hashable, key: Hashable) -> None:
        """Let a lane run on; of a partition that was dropped meanwhile nothing remains."""
        if self._leave(partition, key):
            return
        lanes = self._lanes[partition]
        lane = lanes[key]
        lane.is_taken = False
        self._out -= 1
        if lane.queue:
            self._ready_items += len(lane.queue)
            self._ready.append((partition, key))
        else:
            del lanes[key]

    def drop(self, partition: Hashable) -> None:
        """Forget what is queued of a partition; lanes that are taken are forgotten when they are released."""
        lanes = self._lanes.pop(partition, {})
        self._queued -= sum(len(lane.queue) for lane in lanes.values())
        self._ready_items -= sum(len(lane.queue) for lane in lanes.values() if not lane.is_taken)
        self._ready = deque(name for name in self._ready if name[0] != partition)
        taken = {key for key, lane in lanes.items() if lane.is_taken}
        if taken:
            self._leaving.setdefault(partition, set()).update(taken)

    def is_busy(self, partition: Hashable) -> bool:
        """Say whether somebody is still at work on a lane of the partition, dropped or not."""
        return partition in self._leaving or any(lane.is_taken for lane in self._lanes.get(partition, {}).values())

    def _lane(self, partition: Hashable, key: Hashable) -> _Lane[Item]:
        lanes = self._lanes.setdefault(partition, {})
        lane = lanes.get(key)
        if lane is None:
            lane = lanes[key] = _Lane()
        return lane

    def _leave(self, partition: Hashable, key: Hashable) -> bool:
        leaving = self._leaving.get(partition)
        if leaving is None or key not in leaving:
            return False
        leaving.remove(key)
        self._out -= 1
        if not leaving:
            del self._leaving[partition]
        return True
