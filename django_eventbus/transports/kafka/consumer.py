"""How do records come from Kafka to the one thread that polls?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from operator import methodcaller
from typing import Any, cast

from confluent_kafka.cimpl import OFFSET_INVALID, KafkaError, KafkaException, Message
from confluent_kafka.cimpl import Consumer as Client
from confluent_kafka.cimpl import TopicPartition as Position

from django_eventbus.exceptions import ConfigurationError, TransportUnavailable
from django_eventbus.transports.base import AssignmentListener, Record, TopicPartition

from .errors import name_of, reason_of
from .logs import logger

_ANSWER = 10.0  # seconds to wait for an answer about offsets or topics
_GOODBYE = 10.0  # seconds for the last commit and for leaving the group
_UNREADABLE = (("\ufffd", None),)  # no event has such a header, so the record becomes a dead letter
# For a name that is not UTF-8 the client returns a broken list and leaves an exception pending. A plain method call,
# once the interpreter has specialised it, does not look for that: the exception would come up anywhere later.
_call_headers = methodcaller("headers")
_BEGINNING, _END = frozenset({"earliest", "smallest", "beginning"}), frozenset({"latest", "largest", "end"})
_TOO_EARLY = frozenset({KafkaError._STATE, KafkaError._OUTDATED, KafkaError._PREV_IN_PROGRESS})
_NOT_OURS_ANY_MORE = frozenset({KafkaError._STATE, KafkaError._INVALID_ARG, KafkaError._UNKNOWN_PARTITION})


class KafkaConsumer:
    """Read records as a member of a group; stored offsets are committed in the background, on revoke and close."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._assigned: set[TopicPartition] = set()
        self._paused: set[TopicPartition] = set()
        self._seeks: dict[TopicPartition, int] = {}  # not yet carried out
        self._is_assigning = False
        self._changes = 0  # rebalances seen
        self._ends: dict[TopicPartition, int] = {}  # reached, not yet reported
        self._listener: AssignmentListener | None = None
        self._group = str(config["group.id"])
        self._reset = str(config.get("auto.offset.reset", "latest"))
        strategy = str(config.get("partition.assignment.strategy", ""))
        self._is_incremental = config.get("group.protocol") == "consumer" or "cooperative" in strategy
        try:
            self._client = Client({**config, "error_cb": self._on_error, "logger": logger})
        except (KafkaException, TypeError, ValueError) as exc:
            raise ConfigurationError(
                f"The Kafka consumer refuses its options: {reason_of(exc)}. "
                f"Correct OPTIONS or CONSUMER_OPTIONS of this bus in EVENTBUS."
            ) from exc

    def subscribe(self, topics: Collection[str], *, listener: AssignmentListener) -> None:
        """Join the group for these topics; the listener is called from `poll` and `close` only."""
        self._listener = listener
        self._client.subscribe(
            sorted(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def poll(self, *, timeout: float, limit: int) -> list[Record]:
        """Return up to `limit` records, waiting at most `timeout` seconds for the first one."""
        self._report_ends()  # the records before these ends were returned by the previous call
        self._move()
        changes = self._changes
        # consume() alone would wait for all `limit` records, and keep signal handlers waiting with it.
        first = self._client.poll(timeout)
        if first is None:
            return []
        messages = [first, *self._client.consume(limit - 1, 0)] if limit > 1 else [first]
        now = datetime.now(UTC)
        records = [_record(message, received_at=now) for message in messages if self._is_record(message)]
        if self._seeks:
            records = [record for record in records if (record.topic, record.partition) not in self._seeks]
        if changes != self._changes:
            # The first record may be older than a revocation that the second call served.
            records = [record for record in records if (record.topic, record.partition) in self._assigned]
        if not records:
            self._report_ends()
        return records

    def store(self, positions: Mapping[TopicPartition, int]) -> None:
        """Store next offsets to be committed in the background; partitions no longer assigned are ignored."""
        offsets = [Position(*place, offset) for place, offset in positions.items() if place in self._assigned]
        if not offsets:
            return
        try:
            self._client.store_offsets(offsets=offsets)
        except KafkaException as exc:
            if exc.args[0].code() not in _NOT_OURS_ANY_MORE:
                raise

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Continue an assigned partition at `offset`; a partition no longer assigned is ignored."""
        if partition not in self._assigned:
            return
        self._ends.pop(partition, None)
        self._seeks[partition] = offset
        if not self._is_assigning:
            self._move()

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Stop fetching from partitions; what was fetched ahead is dropped and fetched again later."""
        if chosen := self._assigned.intersection(partitions):
            self._paused |= chosen
            if not self._is_assigning:
                self._client.pause(_positions(chosen))

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        if chosen := self._assigned.intersection(partitions):
            self._paused -= chosen
            if not self._is_assigning:
                self._client.resume(_positions(chosen))

    def assignment(self) -> set[TopicPartition]:
        return set(self._assigned)

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int | None]:
        """Return the group's committed offsets, None where it has none; may raise TransportUnavailable."""
        if not partitions:
            return {}
        found = self._ask("committed offsets", self._client.committed, _positions(partitions))
        return {TopicPartition(at.topic, at.partition): at.offset if at.offset >= 0 else None for at in found}

    def first_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offsets of the oldest records that are still there; may raise TransportUnavailable."""
        return {place: self._bounds(place)[0] for place in partitions}

    def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offsets that the next records will get; may raise TransportUnavailable."""
        return {place: self._bounds(place)[1] for place in partitions}

    def partitions_of(self, topics: Collection[str]) -> set[TopicPartition]:
        """Return the partitions of those topics that exist; may raise TransportUnavailable."""
        places: set[TopicPartition] = set()
        for topic in topics:
            found = self._ask("partitions", self._client.list_topics, topic).topics[topic]
            places |= {TopicPartition(topic, number) for number in found.partitions}
        return places

    def close(self) -> None:
        """Give partitions back (`revoked` is called), commit what was stored, leave the group.

        A broker that is gone is not waited for: what it could not be told comes again.
        """
        if self._assigned:
            self._on_revoke(self._client, _positions(self._assigned))
        self._listener = None  # what the client still has to say comes on the thread below
        # The client waits for a coordinator as long as a commit is in progress: for ever, where the broker is gone.
        closing = threading.Thread(target=self._client.close, name="eventbus-kafka-close", daemon=True)
        closing.start()
        closing.join(_GOODBYE)
        if closing.is_alive():
            logger.warning("left without an answer of the broker group=%s", self._group)

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if self._listener is None:
            return False
        if error.code() == KafkaError._PARTITION_EOF:
            place = TopicPartition(str(message.topic()), int(message.partition() or 0))
            self._ends[place] = int(message.offset() or 0)
        else:
            where = f" (topic {message.topic()})" if message.topic() else ""
            self._listener.failed(name_of(error.code()), f"{error.str()}{where}")
        return False

    def _report_ends(self) -> None:
        ends, self._ends = self._ends, {}
        for place, offset in ends.items():
            if self._listener is not None and place in self._assigned:
                self._listener.reached_end(place, offset)

    def _move(self) -> None:
        """Carry out seeks; one that comes too early, while the committed offset is being asked for, is tried again."""
        for place, offset in list(self._seeks.items()):
            try:
                self._client.seek(Position(*place, offset))
            except KafkaException as exc:
                if exc.args[0].code() not in _TOO_EARLY:
                    raise
            else:
                del self._seeks[place]

    def _on_assign(self, client: Client, positions: list[Position]) -> None:
        if self._listener is None:
            return  # closing: to ask the broker for offsets now would keep the member from leaving
        self._changes += 1
        self._assigned |= (places := _places(positions))
        # The client is told afterwards, with the offsets and pauses that the listener wants, and with exact offsets for
        # the rest: left to find the committed one itself, it overrides a seek that came meanwhile, and says nothing.
        self._is_assigning = True
        try:
            if places:
                self._listener.assigned(places)
        finally:
            self._is_assigning = False
        starts = self._starts(places)
        if self._is_incremental:
            client.incremental_assign(starts)
        else:
            client.assign(starts)
        if paused := places & self._paused:
            client.pause(_positions(paused))

    def _starts(self, places: set[TopicPartition]) -> list[Position]:
        """Tell where each partition begins: where the listener sought, else where the group was, else by policy."""
        starts = {place: self._seeks.pop(place) for place in places if place in self._seeks}
        try:
            for place, offset in self.committed(places - starts.keys()).items():
                starts[place] = self._first_start(place) if offset is None else offset
        except TransportUnavailable as exc:
            logger.warning("start offsets are left to the client group=%s reason=%s", self._group, exc)
        return [Position(*place, starts.get(place, OFFSET_INVALID)) for place in places]

    def _first_start(self, place: TopicPartition) -> int:
        if self._reset not in _BEGINNING | _END:
            return int(OFFSET_INVALID)  # "error": the client reports _AUTO_OFFSET_RESET
        low, high = self._bounds(place)
        return low if self._reset in _BEGINNING else high

    def _bounds(self, place: TopicPartition) -> tuple[int, int]:
        low, high = self._ask("offsets", self._client.get_watermark_offsets, Position(*place), cached=False)
        return int(low), int(high)

    def _on_revoke(self, _client: Client, positions: list[Position]) -> None:
        # Still assigned while the listener runs: what it stores now is committed with the revocation.
        places = _places(positions)
        if self._listener is not None and places:
            self._listener.revoked(places)
        self._forget(places)

    def _on_lost(self, _client: Client, positions: list[Position]) -> None:
        # Forgotten first: another member may own them by now, and nothing may be stored.
        places = _places(positions)
        self._forget(places)
        if self._listener is not None and places:
            self._listener.lost(places)

    def _forget(self, places: set[TopicPartition]) -> None:
        self._assigned -= places
        self._paused -= places
        self._seeks = {place: offset for place, offset in self._seeks.items() if place not in places}
        self._changes += 1

    def _on_error(self, error: KafkaError) -> None:
        if self._listener is not None:
            self._listener.failed(name_of(error.code()), error.str())

    def _ask(self, what: str, question: Callable[..., Any], /, *about: Any, **options: Any) -> Any:
        try:
            return question(*about, timeout=_ANSWER, **options)
        except KafkaException as exc:
            error = exc.args[0]
            raise TransportUnavailable(
                f"Kafka gave no {what} for group {self._group!r}: {name_of(error.code())} ({error.str()}). "
                f"Check that the brokers in OPTIONS['bootstrap.servers'] can be reached, and the rights of this client."
            ) from exc


def _record(message: Message, *, received_at: datetime) -> Record:
    # By place: names would cost as much again, and this runs for every record.
    return Record(
        cast("str", message.topic()),
        cast("int", message.partition()),
        cast("int", message.offset()),
        message.key(),
        message.value(),
        _headers(message),
        received_at,
    )


def _headers(message: Message) -> Sequence[tuple[str, bytes | None]]:
    try:
        return cast("Sequence[tuple[str, bytes | None]]", _call_headers(message) or ())
    except (SystemError, UnicodeDecodeError):
        # A name that is not UTF-8: the client fails every time it is asked, which would stop the partition for ever.
        return _UNREADABLE


def _positions(places: Iterable[TopicPartition]) -> list[Position]:
    return [Position(*place) for place in places]


def _places(positions: Iterable[Position]) -> set[TopicPartition]:
    return {TopicPartition(position.topic, position.partition) for position in positions}
