"""How do events reach their handlers when the relay itself is the transport?"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from django.db import DatabaseError

from django_eventbus.conf import LOCAL_TRANSPORT, BusConfig
from django_eventbus.conf.sections import LOCAL_SUFFIX
from django_eventbus.delivery.groups import HandlerGroup
from django_eventbus.models import RetryMessage
from django_eventbus.transports.base import Record, TopicPartition

from .careful import begin, end
from .connections import refresh_connections
from .ownership import Claim, Ownership
from .reporting import Reporter
from .trouble import Abandoned, Fenced
from .turn import Arrival, Turn, Waiting

DUE_LANES = 200
STUCK = 1.0  # seconds until the next look where all that is due waits: for a row before it, or a task at work on it


class LocalDeliverer:
    """Run handlers in the thread of the relay: the same inbox, order, retries and dead letters as with a broker."""

    def __init__(
        self, config: BusConfig, groups: Mapping[str, HandlerGroup], *, queue: BusConfig | None = None
    ) -> None:
        place = place_of(queue or config)
        self._members = [_Member(group, config, place) for group in groups.values()]
        batches = [handler.batch or 0 for group in groups.values() for handler in group.handlers]
        self._most = self._size = max([config.consumer.batch_size, *batches])
        self._lock = threading.Lock()  # protects the members: a partition is worked on by one thread at a time

    def deliver(self, records: Sequence[Record], deadline: float) -> int:
        """Handle records in order, about `deadline` seconds long; return how many of the first ones are done."""
        until = time.monotonic() + deadline
        done = 0
        with self._lock:
            while done < len(records) and (done == 0 or time.monotonic() < until):
                began = time.monotonic()
                part = records[done : done + self._size]
                handled = min((member.handle(part, until=until) for member in self._members), default=len(part))
                done += handled
                if handled == 0:
                    break
                is_slow = time.monotonic() - began > deadline / 4
                self._size = max(1, self._size // 2) if is_slow else min(self._most, self._size * 2)
        return done

    def run_due_retries(self) -> float | None:
        """Run deliveries whose time has come; return the seconds until the next one, None where none waits."""
        with self._lock:
            waits = [member.run_due() for member in self._members]
        return min((wait for wait in waits if wait is not None), default=None)

    def close(self) -> None:
        """Leave the partitions clean."""
        with self._lock:
            for member in self._members:
                member.give_back()


class _Member:
    """One group's partition, its claim, and its way of carrying things out."""

    def __init__(self, group: HandlerGroup, config: BusConfig, place: TopicPartition) -> None:
        self._home = config.database
        self._place = place
        self._until = 0.0
        self._in_flight = config.consumer.batch_size
        self._ownership = Ownership(group, config, owner=f"{socket.gethostname()}:{os.getpid()}")
        self._turn = Turn(
            group, config, has_loop=False, on_fenced=self._on_fenced, reporter=Reporter(), sleep=self._sleep
        )

    def handle(self, records: Sequence[Record], *, until: float) -> int:
        """Handle records; return how many of the first ones are done: none while somebody else holds the partition."""
        refresh_connections()
        self._until = until
        claim = self._claim()
        if claim is None:
            return 0
        if claim.is_careful:
            records = records[:1]
        self._carry_out(claim, [Arrival(record=record, claim=claim) for record in records])
        return len(records) if claim.is_current else 0

    def run_due(self) -> float | None:
        """Run what is due; return the seconds until the next."""
        refresh_connections()
        claim = self._claim()
        if claim is None:
            return 1.0
        waits = []
        for alias, fence in claim.fences.items():
            rows = RetryMessage.objects.using(alias)
            limit = 1 if claim.is_careful else DUE_LANES
            due = rows.due([fence.partition_id], limit=limit)
            self._carry_out(
                claim, [Waiting(lane=d.lane, row=d.key, claim=claim, using=alias, handler=d.handler) for d in due]
            )
            if (next_at := rows.next_due_at([fence.partition_id])) is not None:
                wait = max(0.0, (next_at - datetime.now(UTC)).total_seconds())
                is_stuck = not wait and bool(due) and rows.due([fence.partition_id], limit=limit) == due
                waits.append(STUCK if is_stuck else wait)
        return min(waits, default=None)

    def give_back(self) -> None:
        """Leave the partition clean; where the database cannot be told, the next owner begins carefully."""
        claim = self._ownership.forget(self._place)
        if claim is None:
            return
        try:
            self._ownership.give_back(claim)
        except DatabaseError:
            self._ownership.close_broken()

    def _carry_out(self, claim: Claim, items: Sequence[Arrival | Waiting]) -> None:
        try:
            begun = [begin(item, using=self._home) for item in items]
        except Fenced:
            self._on_fenced(claim)
            return
        try:
            self._turn.carry_out(self._turn.sort(begun))
        except Abandoned:
            self._on_fenced(claim)  # taken again when the database is back
        if claim.is_current:
            for item in items:
                end(item, using=self._home)
            claim.careful_for = max(0, claim.careful_for - len(items))

    def _claim(self) -> Claim | None:
        if self._place not in self._ownership.claims:
            self._ownership.want(self._place)
            for claim in self._ownership.take_due():
                # More than one unit was never in flight here.
                claim.careful_for = min(claim.careful_for, self._in_flight)
        return self._ownership.claims.get(self._place)

    def _on_fenced(self, claim: Claim) -> None:
        self._ownership.forget(claim.place)

    def _sleep(self, seconds: float) -> bool:
        time.sleep(seconds)
        return time.monotonic() > self._until


def place_of(queue: BusConfig) -> TopicPartition:
    """Return the partition of each group on a local queue; its owner is who holds the relay's locks.

    It is the same before and after a bus gets a broker, so what waits there is carried out all the same. Two buses
    that share a group have one each.
    """
    is_own = queue.transport == LOCAL_TRANSPORT and not queue.is_companion
    return TopicPartition(f"{queue.alias}{LOCAL_SUFFIX}" if is_own else queue.alias, 0)
