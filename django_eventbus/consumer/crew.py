"""Which threads do the work, and who gets how much of it?"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from django.db import DatabaseError

from django_eventbus.conf import BusConfig
from django_eventbus.delivery.groups import HandlerGroup
from django_eventbus.transports.base import Record

from .asynchronous import EventLoop, Job
from .careful import begin, end
from .connections import close_connections, refresh_connections
from .lanes import Lanes
from .ownership import Claim
from .reporting import Reporter
from .run import Run
from .trouble import Abandoned, Fenced
from .turn import Arrival, Turn, Waiting

logger = logging.getLogger(__name__)

IDLE = 1.0  # seconds without work after which a thread closes its connections
LINGER = 0.02  # seconds that a list of a batch handler is given to fill up while other lists are handled

Item = Arrival | Waiting
Lane = tuple[Claim, Hashable]  # a partition, and the key of one of its lanes
Taken = tuple[Claim, Hashable, list[Item]]


@dataclass(frozen=True, slots=True)
class Finished:
    """Items whose effects are committed."""

    claim: Claim
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Unowned:
    """A claim that somebody else has raised the epoch of."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Defect:
    """An error that is no handler's and no database's: the worker must end, loudly."""

    error: BaseException


News = Finished | Unowned | Defect


class Crew:
    """Threads that take from the lanes, each with database connections of its own.

    One lock, which both conditions share, guards the lanes and the counters: `_changed` wakes who looks for work,
    `_ended` who waits for its end. What is finished goes to the thread that owns the consumer.
    """

    def __init__(self, group: HandlerGroup, config: BusConfig, *, threads: int, reporter: Reporter) -> None:
        self.news: SimpleQueue[News] = SimpleQueue()
        self.is_careful = False  # one message at a time in the whole process
        self._config = config
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        self._ended = threading.Condition(lock)
        self._lanes: Lanes[Item] = Lanes()
        self._idle = 0
        self._is_stopping = threading.Event()
        self._batches = [handler.batch for handler in group.handlers if handler.batch is not None]
        # With more threads than half of what is in flight can feed, takes are smaller, and so all the same size: greedy
        # ones would leave the next taker two or three messages and a whole transaction for them.
        share = max(1, config.consumer.max_in_flight // (2 * threads))
        self._most = max([min(config.consumer.batch_size, share), *self._batches])
        self._shares = len(self._batches) < len(group.handlers)  # a group of batch handlers only prefers full lists
        has_async = any(handler.is_async for handler in group.handlers)
        has_sync = any(not handler.is_async for handler in group.handlers)
        self._turn = Turn(
            group,
            config,
            has_loop=has_async,
            on_fenced=self._report_fenced,
            reporter=reporter,
            sleep=self._is_stopping.wait,
        )
        self._loop = EventLoop(self._turn, slots=threads, on_defect=self._report_defect) if has_async else None
        self._threads = [
            threading.Thread(target=self._work, name=f"eventbus-worker-{number}", daemon=True)
            for number in range(threads if has_sync else 1)
        ]

    def start(self) -> None:
        """Start the threads."""
        if self._loop is not None:
            self._loop.start()
        for thread in self._threads:
            thread.start()

    def submit(self, arrivals: Sequence[Arrival]) -> None:
        """Queue messages in the lanes of their keys."""
        with self._changed:
            for item in arrivals:
                self._lanes.add(item, partition=item.claim, key=lane_key(item.record))
            self._changed.notify(len(arrivals) if self._shares else 1 + len(arrivals) // self._most)

    def submit_waiting(self, lane: Waiting) -> None:
        """Queue a waiting lane before the messages of its key."""
        with self._changed:
            self._lanes.add_first(lane, partition=lane.claim, key=lane.key)
            self._changed.notify()

    def drop(self, claim: Claim) -> None:
        """Forget what is queued of a partition."""
        with self._changed:
            self._lanes.drop(claim)
            self._ended.notify_all()

    def is_busy(self, claim: Claim) -> bool:
        """Say whether something of a partition is running."""
        with self._changed:
            return self._lanes.is_busy(claim)

    def wait_for(self, is_over: Callable[[], bool], *, timeout: float) -> bool:
        """Wait until a condition holds that ends with finished work; return whether it does."""
        with self._ended:
            return self._ended.wait_for(is_over, timeout)

    @property
    def out(self) -> int:
        """Count the lanes that somebody is at work on."""
        return self._lanes.out

    def wake(self) -> None:
        """Let the threads look again; after `is_careful` has changed."""
        with self._changed:
            self._changed.notify_all()

    def stop(self, timeout: float) -> bool:
        """Finish what is running, at most `timeout` seconds long; return whether nothing is left."""
        self._is_stopping.set()
        self.wake()
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        if self._loop is not None:
            self._loop.stop(max(0.0, until - time.monotonic()))
        return self._lanes.out == 0

    def _work(self) -> None:
        try:
            while (taken := self._take()) is not None:
                refresh_connections()
                self._carry_out(taken)
        except Abandoned:
            logger.warning("stopped during an outage: what was under way comes again")
        # The boundary of a turn: what comes here is a defect of this package. The message stays unfinished, the worker
        # ends uncleanly, and careful mode finds the message if it happens again.
        except Exception as exc:
            logger.exception("worker thread failed")
            self.news.put(Defect(exc))
        finally:
            close_connections()

    def _take(self) -> list[Taken] | None:
        with self._changed:
            self._idle += 1
            try:
                while not self._is_stopping.is_set():
                    if self.is_careful:
                        if self._lanes.ready and not self._lanes.out:
                            return self._taken(1)
                    elif self._lanes.ready:
                        self._changed.wait_for(self._is_worth_taking, LINGER)
                        if self._lanes.ready and not self.is_careful:
                            return self._taken(self._most)
                        continue
                    if not self._changed.wait(IDLE) and not self._lanes.ready and not self._is_stopping.is_set():
                        close_connections()
                        # Asked again before: who was called just as the time ran out is called no second time.
                        self._changed.wait()
                return None
            finally:
                self._idle -= 1

    def _is_worth_taking(self) -> bool:
        # A list that is taken as soon as it has a few messages costs as many statements as a full one. While somebody
        # else is at work nothing is lost by letting it fill up; LINGER bounds that where the other takes long.
        is_alone = not self._lanes.out
        return self._shares or is_alone or self._lanes.ready >= self._most or self._is_stopping.is_set()

    def _taken(self, limit: int) -> list[Taken]:
        found = self._lanes.take(limit, takers=self._idle if self._shares else 1)
        return [(claim, key, items) for claim, key, items in found if isinstance(claim, Claim)]

    def _carry_out(self, taken: Sequence[Taken]) -> None:
        items = [item for _, _, items in taken for item in items]
        todo = self._turn.sort([self._begin(item) if item.claim.is_careful else item for item in items])
        ends = self._submit_jobs(taken, todo.on_loop) if todo.on_loop else {}
        self._turn.carry_out(todo)
        self._finish([one for one in taken if one[:2] not in ends or ends[one[:2]].is_last()] if ends else taken)

    def _submit_jobs(self, taken: Sequence[Taken], work: Sequence[Run | Waiting]) -> dict[Lane, _Countdown]:
        """Hand to the event loop what belongs there; its lanes end when both the loop and this thread are through."""
        jobs: dict[Lane, list[Run | Waiting]] = defaultdict(list)
        for one in work:
            jobs[one.claim, one.key if isinstance(one, Waiting) else lane_key(one.delivery.record)].append(one)
        ends = {lane: _Countdown(2) for lane in jobs}
        for claim, key, items in taken:
            if self._loop is not None and (runs := jobs.get((claim, key))):
                self._submit_job(self._loop, claim, key, items, runs, ends[claim, key])
        return ends

    def _submit_job(
        self,
        loop: EventLoop,
        claim: Claim,
        key: Hashable,
        items: list[Item],
        work: Sequence[Run | Waiting],
        countdown: _Countdown,
    ) -> None:
        def done(failure: BaseException | None) -> None:
            try:
                if failure is None and countdown.is_last():
                    self._finish([(claim, key, items)])
            # The boundary of a turn, as in `_work`: an error that left this function would end the event loop.
            except Exception as exc:  # noqa: BLE001
                failure = exc
            if failure is not None and not isinstance(failure, Abandoned):
                self._report_defect(failure)

        loop.submit(Job(work=work, done=done))

    def _begin(self, item: Item) -> Item:
        """Count, in careful mode, what may kill the process."""
        while True:
            try:
                return begin(item, using=self._config.database)
            except Fenced:
                self._report_fenced(item.claim)
                return item
            except DatabaseError:
                self._pause()

    def _finish(self, taken: Sequence[Taken]) -> None:
        finished: dict[Claim, list[Item]] = defaultdict(list)
        for claim, _, items in taken:
            finished[claim] += items
        for claim, items in finished.items():
            if not claim.is_current:
                continue
            if claim.begun:
                self._end(items)
            self.news.put(Finished(claim, items))
        # Released only now: whoever waits for a lane to end finds its news already there.
        with self._changed:
            for claim, key, _ in taken:
                self._lanes.release(claim, key)
            self._changed.notify(self._lanes.ready)
            self._ended.notify_all()

    def _end(self, items: Sequence[Item]) -> None:
        for item in items:
            try:
                end(item, using=self._config.database)
            except DatabaseError:
                self._pause()  # its next start is counted on top: three outages at this very moment would condemn it

    def _pause(self) -> None:
        if self._is_stopping.wait(0.5):
            raise Abandoned
        refresh_connections()

    def _report_defect(self, error: BaseException) -> None:
        logger.error("async worker failed", exc_info=error)
        self.news.put(Defect(error))

    def _report_fenced(self, claim: Claim) -> None:
        claim.is_current = False
        self.news.put(Unowned(claim))


class _Countdown:
    """Tell who of several threads is the last to finish a lane."""

    def __init__(self, parts: int) -> None:
        self._left = parts
        self._lock = threading.Lock()  # protects `_left`

    def is_last(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left == 0


def lane_key(record: Record) -> Hashable:
    """Return the key of a record's lane; records without a key have no order among them."""
    return record.offset if record.key is None else record.key
