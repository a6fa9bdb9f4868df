"""How does a relay read and settle the outbox through Django's own connection: on SQLite, and inside tests?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db import connections, models, transaction
from django.utils import timezone

from django_eventbus.conf import BusConfig
from django_eventbus.events.envelope import OutgoingRow

from .control import ControlFlag
from .outbox import HELD_UNTIL, OutboxLane, OutboxMessage, ParkedMessage, SentMessage, TravellingMessage
from .relay_dead import DeadRow, bury
from .relay_lanes import Lane, ParkedRow, Waiting
from .relay_scheduled import PlainSchedule

SENDABLE = ("id", "topic", "key", "headers", "payload")
TRAVELLING = ("id", "event_id", "event_name", "bus", "shard", "topic", "key", "headers", "payload", "created_at")


class PlainSession:
    """Work on the thread's Django connection, with no lock of its own; used where nobody else relays.

    Reading takes no transaction, so that handlers and web processes can write while messages are sent.
    """

    is_listening = False

    def __init__(self, config: BusConfig) -> None:
        self.using = config.database
        self.vendor = connections[self.using].vendor
        self.bus = ControlFlag.objects.using(self.using).bus_number(config.alias)
        self.alias = config.alias
        self.is_archiving = config.outbox.retention is not None
        self._limit = config.outbox.batch_size
        self.lanes = PlainLanes(self)
        self.scheduled = PlainSchedule(self)

    # The bracket of a step

    def begin(self) -> bool:
        return True

    def commit(self) -> None:
        """Do nothing: each settling has committed by itself."""

    def rollback(self) -> None:
        """Do nothing: a settling that failed has rolled back by itself."""

    def settling(self) -> AbstractContextManager[None]:
        """Bracket the writes after a flush in one short transaction."""
        return _short_transaction(self.using)

    def evict_overdue(self, *, grace: float) -> Collection[int]:
        return ()

    def wait_for_notice(self, *, timeout: float) -> bool:
        return False

    def close(self) -> None:
        if not connections[self.using].in_atomic_block:
            connections[self.using].close()

    def leave_to_parent(self) -> None:
        """Do nothing: there is no lock."""

    # The outbox; no window: its ids commit in their order, and what is deleted is gone

    def read(self) -> list[OutgoingRow]:
        """Return the next messages in the order of their ids."""
        rows = self.outbox().order_by("id").values_list(*SENDABLE)[: self._limit]
        return [_plain(row) for row in rows]

    def learn(self, gone: Collection[int]) -> None:
        """Do nothing: every read starts at the front."""

    def restart(self) -> None:
        """Do nothing: nothing was learned."""

    def remove_sent(self, ids: Sequence[int]) -> None:
        self.archive(self.outbox().filter(id__in=ids))
        self.outbox().filter(id__in=ids).delete()

    def is_empty(self) -> bool:
        """Say whether nothing waits, but for what is held for a verdict."""
        lanes = OutboxLane.objects.using(self.using).filter(bus=self.bus, available_at__lt=HELD_UNTIL)
        parked = ParkedMessage.objects.using(self.using).filter(lane_id__in=lanes.values("id"))
        return not (self.outbox().exists() or parked.exists() or self.scheduled.is_due())

    def fetch(self, statement: str, values: Any = None) -> list[Any]:
        with connections[self.using].cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def execute(self, statement: str, values: Any = None) -> int:
        with connections[self.using].cursor() as cursor:
            cursor.execute(statement, values)
            return int(cursor.rowcount)

    def outbox(self) -> models.QuerySet[OutboxMessage]:
        return OutboxMessage.objects.using(self.using).filter(bus=self.bus)

    def archive(self, messages: models.QuerySet[Any]) -> None:
        if self.is_archiving:
            copies = [SentMessage(**values) for values in messages.values(*TRAVELLING)]
            SentMessage.objects.using(self.using).bulk_create(copies, ignore_conflicts=True)


class PlainLanes:
    """Be the verbs of models/relay_lanes.py through the ORM; they run inside `settling`."""

    def __init__(self, session: PlainSession) -> None:
        self._session = session

    def waiting(self, *, limit: int) -> Waiting:
        now = timezone.now()
        lanes = [
            Lane(
                id=lane.pk,
                shard=lane.shard,
                topic=lane.topic,
                is_whole=lane.whole,
                key=bytes(lane.key),
                attempts=lane.attempts,
                is_due=lane.available_at <= now,
                is_held=lane.available_at >= HELD_UNTIL,
                head_id=lane.head_id,
            )
            for lane in self._lanes().order_by("available_at", "id")
        ]
        return Waiting(lanes)

    def read(self, takes: Sequence[tuple[Lane, int]]) -> list[ParkedRow]:
        rows: list[ParkedRow] = []
        for lane, take in takes:
            waiting = self._parked().filter(lane_id=lane.id, id__gt=lane.head_id).order_by("id")
            rows += [ParkedRow(lane.id, _plain(row)) for row in waiting.values_list(*SENDABLE)[:take]]
        return sorted(rows, key=lambda parked: parked.row[0])

    def park(self, ids: Sequence[int], *, reason: str, is_whole: bool, attempts: int, wait: float | None) -> list[int]:
        messages = list(self._session.outbox().filter(id__in=ids))
        self._open(messages, reason=reason, is_whole=is_whole, attempts=attempts, wait=wait)
        return self.join(ids)

    def hold(self, ids: Sequence[int], *, reason: str) -> None:
        messages = self._session.outbox().filter(id__in=ids)
        self._open(messages, reason=reason, is_whole=False, attempts=1, wait=None)

    def join(self, ids: Sequence[int]) -> list[int]:
        moved = []
        for message in list(self._session.outbox().filter(id__in=ids).order_by("id")):
            lane = self._lane_of(message)
            if lane is None:
                continue
            values = {name: getattr(message, name) for name in TRAVELLING}
            self._parked().create(lane_id=lane.pk, **values)
            self._lanes().filter(pk=lane.pk, head_id__gte=message.id).update(head_id=message.id - 1)
            moved.append(message.id)
        self._session.outbox().filter(id__in=moved).delete()
        return moved

    def split(self, lane: Lane, ids: Sequence[int], *, reason: str, attempts: int, wait: float | None) -> None:
        in_trouble = list(self._parked().filter(lane_id=lane.id, id__in=ids))
        self._open(in_trouble, reason=reason, is_whole=False, attempts=attempts, wait=wait)
        for message in in_trouble:
            own = self._lanes().get(whole=False, shard=message.shard, topic=message.topic, key=message.key or b"")
            same = models.Q(key=message.key) if message.key else models.Q(key=None) | models.Q(key=b"")
            self._parked().filter(same, lane_id=lane.id, topic=message.topic).update(lane_id=own.pk)

    def remove_sent(self, rows: Sequence[ParkedRow]) -> None:
        lanes, ids = {parked.lane_id for parked in rows}, [parked.row[0] for parked in rows]
        sent = self._parked().filter(lane_id__in=lanes, id__in=ids)
        self._session.archive(sent)
        sent.delete()

    def advance(self, lane: Lane, *, head_id: int) -> None:
        self._lanes().filter(pk=lane.id).update(attempts=0, head_id=head_id)

    def postpone(self, lane: Lane, *, reason: str, attempts: int, head_id: int, wait: float | None) -> None:
        due_at = _moment(wait)
        self._lanes().filter(pk=lane.id).update(reason=reason, attempts=attempts, head_id=head_id, available_at=due_at)

    def close(self, lanes: Sequence[Lane]) -> None:
        for lane in lanes:
            if self._parked().filter(lane_id=lane.id).exists():
                self._lanes().filter(pk=lane.id).update(head_id=0)
            else:
                self._lanes().filter(pk=lane.id).delete()

    def bury(self, lane: Lane | None, rows: Sequence[DeadRow], *, code: str) -> dict[int, int]:
        place = None if lane is None else (lane.shard, lane.topic)
        return bury(self._session, rows, place=place, code=code, attempts=1 if lane is None else lane.attempts + 1)

    def _open(
        self,
        messages: Iterable[TravellingMessage],
        *,
        reason: str,
        is_whole: bool,
        attempts: int,
        wait: float | None,
    ) -> None:
        due_at = _moment(wait)
        for message in messages:
            self._lanes().get_or_create(
                bus=message.bus,
                shard=message.shard,
                topic=message.topic,
                whole=is_whole,
                key=b"" if is_whole else message.key or b"",
                defaults={"reason": reason, "attempts": attempts, "available_at": due_at},
            )

    def _lane_of(self, message: TravellingMessage) -> OutboxLane | None:
        """Find where a message has to wait: its key's own lane, else its topic's, made where the shard has none."""
        lanes = self._lanes().filter(topic=message.topic)
        own = lanes.filter(shard=message.shard, whole=False, key=message.key or b"").first()
        whole = lanes.filter(whole=True).order_by("id").first()
        if own is not None or whole is None or whole.shard == message.shard:
            return own or whole
        defaults = {"reason": whole.reason, "available_at": whole.available_at}
        return self._lanes().get_or_create(
            bus=message.bus, shard=message.shard, topic=message.topic, whole=True, key=b"", defaults=defaults
        )[0]

    def _lanes(self) -> models.QuerySet[OutboxLane]:
        return OutboxLane.objects.using(self._session.using).filter(bus=self._session.bus)

    def _parked(self) -> models.QuerySet[ParkedMessage]:
        return ParkedMessage.objects.using(self._session.using)


@contextmanager
def _short_transaction(using: str) -> Iterator[None]:
    with transaction.atomic(using=using):
        # The write lock first: a transaction that has read cannot take it once another writer was faster.
        OutboxLane.objects.using(using).filter(pk=0).delete()
        yield


def _moment(wait: float | None) -> datetime:
    return HELD_UNTIL if wait is None else timezone.now() + timedelta(seconds=wait)


def _plain(row: tuple[Any, ...]) -> OutgoingRow:
    id_, topic, key, headers, payload = row
    return id_, topic, None if key is None else bytes(key), headers, None if payload is None else bytes(payload)
