"""How does one process consume: who polls, who works, and what happens in which order?"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from queue import Empty

from django.db import DatabaseError

from django_eventbus.conf import BusConfig
from django_eventbus.delivery.deliveries import Outcome
from django_eventbus.delivery.groups import HandlerGroup
from django_eventbus.exceptions import TransportUnavailable
from django_eventbus.signals import emit, partitions_assigned, partitions_revoked
from django_eventbus.transports.base import Consumer, TopicPartition, Transport

from .complaints import Complaints
from .connections import close_connections, refresh_connections
from .crew import Crew, Defect, Finished, Unowned
from .due import DueLanes
from .membership import ConsumerFailed, WorkerReport, member_options, owner_name
from .ownership import Claim, Ownership
from .pressure import BackPressure
from .reporting import Reporter
from .starting import Starts
from .target import Target
from .turn import Arrival, Waiting

logger = logging.getLogger(__name__)

CONFIRMATION = 2.0  # seconds of polling before a fenced partition is taken again: giving it up would strand it
PROGRESS_EVERY = 1.0
SEARCH_EVERY = 60.0  # for deliveries that wait on topics which the group no longer reads
BUSY_POLL = 0.02
IDLE_POLL = 0.2
MOST_AT_ONCE = 500
FATAL = frozenset({"_FATAL", "_FENCED", "FENCED_INSTANCE_ID", "GROUP_AUTHORIZATION_FAILED"})
UNRELEASED = "UNRELEASED_INSTANCE_ID"  # a static member of the new protocol came back before its session had ended


class Worker:
    """Consume the topics of one group; `run` belongs to the thread that calls it, which alone touches the consumer."""

    def __init__(
        self,
        config: BusConfig,
        group: HandlerGroup,
        transport: Transport,
        *,
        concurrency: int | None = None,
        instance: str = "0",
        on_progress: Callable[[WorkerReport], None] | None = None,
    ) -> None:
        self._config = config
        self._group = group
        self._transport = transport
        self._instance = instance
        self._on_progress = on_progress
        self._ownership = Ownership(group, config, owner=owner_name(instance))
        self._due = DueLanes(self._ownership)
        self._reporter = Reporter(on_retry=self._due.expect)
        self._crew = Crew(group, config, threads=concurrency or config.consumer.concurrency, reporter=self._reporter)
        self._starts = Starts()
        self._moved: set[Claim] = set()  # low-water marks that are not yet in the database
        self._in_flight = 0
        self._received = 0
        self._done = 0
        self._pressure = BackPressure(limit=config.consumer.max_in_flight)
        self._next_note = 0.0
        self._next_search = 0.0
        self._fatal = ""
        self._has_to_rejoin = False
        self._is_clean = True
        self._complaints = Complaints(group.name)

    def run(
        self,
        stop: threading.Event,
        *,
        max_messages: int | None = None,
        until_caught_up: bool = False,
        timeout: float | None = None,
    ) -> WorkerReport:
        """Consume until `stop` is set, or a stated condition is reached; then finish what is running.

        Raises ConsumerFailed where the broker refuses this member for good.
        """
        until = None if timeout is None else time.monotonic() + timeout
        self._consumer = self._join()
        self._target = Target(self._consumer, self._group.topics) if until_caught_up else None
        self._crew.start()
        logger.info("consumer started group=%s topics=%s", self._group.name, ",".join(self._group.topics))
        try:
            while not stop.is_set() and not self._is_over(until, max_messages):
                self._step(max_messages)
        except BaseException:
            self._is_clean = False
            raise
        finally:
            self._leave()
        return self._report(until)

    # The listener of the consumer: called inside poll and close, on this thread.

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Keep new partitions quiet until they are taken, which happens outside of this callback."""
        self._consumer.pause(partitions)
        for place in partitions:
            self._ownership.want(place)
        emit(partitions_assigned, group=self._group.name, partitions=set(partitions))

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Finish what is running, note how far it got, and leave the partitions clean."""
        claims = [claim for place in partitions if (claim := self._ownership.claims.get(place)) is not None]
        for claim in claims:
            self._crew.drop(claim)
        grace = self._config.consumer.grace.total_seconds()
        is_clean = self._crew.wait_for(lambda: not any(map(self._crew.is_busy, claims)), timeout=grace)
        self._reap()
        for place in partitions:
            self._starts.known.pop(place, None)
            claim = self._ownership.forget(place)
            if claim is not None:
                self._let_go(claim)
                if is_clean and self._is_clean:
                    self._give_back(claim)
        emit(partitions_revoked, group=self._group.name, partitions=set(partitions), lost=False)

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """Forget partitions that may already belong to somebody else; what is running is fenced by the database.

        One of which nothing runs is left clean, unless somebody has taken it: an outage of the broker kills nobody.
        """
        for place in partitions:
            self._starts.known.pop(place, None)
            if (claim := self._ownership.forget(place)) is not None:
                self._let_go(claim)
                if self._is_clean and not self._crew.is_busy(claim):
                    self._give_back(claim)
        emit(partitions_revoked, group=self._group.name, partitions=set(partitions), lost=True)

    def reached_end(self, partition: TopicPartition, offset: int) -> None:
        """Note that a partition has no further record at this moment."""
        claim = self._ownership.claims.get(partition)
        if claim is not None:
            claim.end = offset
            self._skip_to_end(claim)

    def failed(self, code: str, reason: str) -> None:
        """Log what the broker says; some of it is final."""
        self._complaints.hear(code, reason)
        if code == UNRELEASED:
            self._has_to_rejoin = True
        elif code in FATAL:
            self._fatal = f"{code}: {reason}"

    def _step(self, max_messages: int | None) -> None:
        """Turn the loop once: what is done first, then what is due, then what is new."""
        self._reap()
        self._take_partitions()
        self._submit_due()
        self._note_progress()
        if self._has_to_rejoin:
            self._rejoin()
        if self._is_full(max_messages):
            self._hold_back()
            return
        self._pressure.let_go(self._consumer, set(self._ownership.claims))
        room = self._config.consumer.max_in_flight - self._in_flight
        if max_messages is not None:
            room = min(room, max_messages - self._received)
        timeout = BUSY_POLL if self._in_flight else min(IDLE_POLL, self._due.seconds_to_next())
        self._receive(timeout, min(room, MOST_AT_ONCE))
        if self._fatal:
            raise ConsumerFailed(f"The broker refuses this member of group {self._group.name!r}: {self._fatal}.")

    def _receive(self, timeout: float, limit: int) -> None:
        arrivals: list[Arrival] = []
        begun_anew: set[Claim] = set()
        for record in self._consumer.poll(timeout=timeout, limit=limit):
            claim = self._ownership.claims.get(TopicPartition(record.topic, record.partition))
            if claim is None:
                continue
            if claim.positions.receive(record.offset):
                arrivals.append(Arrival(record=record, claim=claim))
            else:
                begun_anew.add(claim)
        if arrivals:
            self._in_flight += len(arrivals)
            self._received += len(arrivals)
            self._crew.submit(arrivals)
        for claim in begun_anew:
            logger.warning("offsets went backwards place=%s/%s", *claim.place)
            self._take_again(claim, delay=0.0)

    def _reap(self) -> None:
        """Store how far the partitions got. Only what is committed comes here: a crash repeats, never loses."""
        moved: set[Claim] = set()
        while True:
            try:
                news = self._crew.news.get_nowait()
            except Empty:
                break
            match news:
                case Finished(claim=claim, items=items):
                    if self._ownership.claims.get(claim.place) is claim:
                        self._finish(claim, items)
                        moved.add(claim)
                case Unowned(claim=claim):
                    self._lose(claim)
                case Defect(error=error):
                    raise ConsumerFailed(f"A worker thread failed: {type(error).__name__}: {error}") from error
        for claim in moved:
            self._skip_to_end(claim)
        self._store(moved)

    def _finish(self, claim: Claim, items: Collection[Arrival | Waiting]) -> None:
        for item in items:
            if isinstance(item, Arrival):
                claim.positions.finish(item.record.offset)
                self._in_flight -= 1
                self._done += 1
            else:
                self._due.finished(item.lane)
        if claim.is_careful:
            claim.careful_for -= len(items)
            self._relax(claim)

    def _store(self, claims: Collection[Claim]) -> None:
        marks = {claim.place: claim.positions.low_water for claim in claims}
        known = {place: mark for place, mark in marks.items() if mark is not None}
        if known:
            self._consumer.store(known)
        self._moved.update(claims)

    def _skip_to_end(self, claim: Claim) -> None:
        """Count a partition's end as done once all before it is: transaction markers are no records."""
        if claim.end is not None and not len(claim.positions):
            claim.positions.skip_to(claim.end)
            self._store([claim])

    def _take_partitions(self) -> None:
        refresh_connections()
        begun: list[TopicPartition] = []
        for claim in self._ownership.take_due():
            if self._ownership.is_abandoned(claim.place):
                self._due.expect(None)
                continue
            try:
                self._begin_at_start(claim)
            except TransportUnavailable as exc:
                logger.warning("partition not started place=%s/%s error=%s", *claim.place, exc)
                self._ownership.forget(claim.place)
                self._ownership.want(claim.place, delay=1.0)
            else:
                begun.append(claim.place)
        if not self._pressure.is_paused:
            self._consumer.resume(begun)  # all at once: the next question would wait behind the first one's long poll

    def _begin_at_start(self, claim: Claim) -> None:
        place = claim.place
        start = self._starts.of(claim, self._consumer)
        claim.begin_at(start)
        if start is not None:
            self._consumer.seek(place, start)
        if claim.is_careful:
            claim.careful_until = self._consumer.end_offsets([place])[place]
            self._crew.is_careful = True
            logger.warning("last owner died, going carefully place=%s/%s", *place)
        self._due.expect(None)

    def _relax(self, claim: Claim) -> None:
        """End careful mode of a partition once the messages that could have killed its last owner are behind."""
        mark = claim.positions.low_water
        is_past = claim.careful_until is not None and mark is not None and mark >= claim.careful_until
        if claim.careful_for > 0 and not (is_past and claim.has_no_due):
            return
        claim.careful_for = 0
        self._crew.is_careful = any(other.is_careful for other in self._ownership.claims.values())
        self._crew.wake()

    def _submit_due(self) -> None:
        try:
            for lane in self._due.find():
                self._crew.submit_waiting(lane)
        except DatabaseError as exc:
            self._note_outage(exc)
        for claim in self._ownership.claims.values():
            if claim.is_careful:
                self._relax(claim)

    def _note_progress(self) -> None:
        now = time.monotonic()
        if now < self._next_note:
            return
        self._next_note = now + PROGRESS_EVERY
        if self._on_progress is not None:
            self._on_progress(WorkerReport(messages=self._done))
        moved = [claim for claim in self._moved if claim.is_current]
        try:
            self._ownership.note_progress(moved)
            self._moved.clear()
            if now >= self._next_search:
                self._next_search = now + SEARCH_EVERY
                self._ownership.want_abandoned()
        except DatabaseError as exc:
            self._note_outage(exc)

    def _note_outage(self, exc: DatabaseError) -> None:
        logger.warning("database does not answer group=%s error=%s", self._group.name, str(exc)[:200])
        self._due.back_off()
        self._next_note = time.monotonic() + PROGRESS_EVERY
        self._ownership.close_broken()

    def _is_full(self, max_messages: int | None) -> bool:
        has_enough = max_messages is not None and self._received >= max_messages
        return has_enough or self._pressure.is_full(self._in_flight)

    def _hold_back(self) -> None:
        self._pressure.hold_back(self._consumer)
        if self._pressure.is_paused:
            self._receive(BUSY_POLL, 1)  # serves rebalances and keeps the membership
        elif not self._crew.news.qsize():
            time.sleep(BUSY_POLL / 4)

    def _lose(self, claim: Claim) -> None:
        """Go back to where a fenced partition was, and take it again if it is still assigned after a while."""
        if self._ownership.claims.get(claim.place) is not claim:
            return
        logger.warning("fenced place=%s/%s", *claim.place)
        if claim.positions.low_water is not None:
            self._starts.known[claim.place] = claim.positions.low_water
        self._take_again(claim, delay=CONFIRMATION)

    def _take_again(self, claim: Claim, *, delay: float) -> None:
        self._ownership.forget(claim.place)
        self._let_go(claim)
        if not self._ownership.is_abandoned(claim.place):
            self._consumer.pause([claim.place])
            self._ownership.want(claim.place, delay=delay)

    def _let_go(self, claim: Claim) -> None:
        self._crew.drop(claim)
        self._due.drop(claim)
        self._in_flight -= claim.positions.open()
        self._moved.discard(claim)
        self._crew.is_careful = any(other.is_careful for other in self._ownership.claims.values())

    def _give_back(self, claim: Claim) -> None:
        try:
            self._ownership.give_back(claim)
        except DatabaseError as exc:
            logger.warning("partition left unclean place=%s/%s error=%s", *claim.place, str(exc)[:200])

    def _is_over(self, until: float | None, max_messages: int | None) -> bool:
        if until is not None and time.monotonic() >= until:
            return True
        if max_messages is not None and self._done >= max_messages:
            return True
        return self._target is not None and self._due.is_idle and self._target.is_reached(self._ownership.claims)

    def _report(self, until: float | None) -> WorkerReport:
        is_caught_up = self._target is not None and self._target.was_reached
        count = self._reporter.count
        return WorkerReport(
            messages=self._done,
            handled=count(Outcome.HANDLED),
            duplicates=count(Outcome.DUPLICATE),
            retried=count(Outcome.RETRY),
            dead_lettered=count(Outcome.DEAD_LETTERED),
            skipped=count(Outcome.IGNORED),
            is_caught_up=is_caught_up,
            is_timed_out=until is not None and time.monotonic() >= until and not is_caught_up,
            is_clean=self._is_clean,
        )

    def _join(self) -> Consumer:
        self._consumer = self._transport.open_consumer(member_options(self._config, self._group, self._instance))
        self._consumer.subscribe(self._group.topics, listener=self)
        return self._consumer

    def _rejoin(self) -> None:
        self._has_to_rejoin = False
        self._consumer.close()
        time.sleep(1.0)
        self._consumer = self._join()

    def _leave(self) -> None:
        """Stop in order: what runs ends, its offsets are stored, the partitions are left clean, the member goes."""
        is_done = self._crew.stop(self._config.consumer.shutdown_timeout.total_seconds())
        self._is_clean = self._is_clean and is_done
        try:
            self._consumer.close()
        finally:
            close_connections()
        logger.info("consumer stopped group=%s messages=%s clean=%s", self._group.name, self._done, self._is_clean)
