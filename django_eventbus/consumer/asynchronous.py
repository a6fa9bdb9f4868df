"""How do async handlers run side by side, each atomic one in a transaction that is its own?

ORM calls of a coroutine run on another thread and connection than its caller's, so a worker's rollback would not reach
them. Each slot therefore keeps one thread-sensitive context, and with it one thread and one connection, through which
all of a unit goes: inbox, handler, commit.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async

from .connections import close_connections
from .persistence import Attempt
from .run import Run
from .running import arun_each, arun_outside
from .trouble import Abandoned
from .turn import Turn, Waiting

IDLE = 1.0  # seconds without work after which a slot closes its connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The runs of one lane, one after the other, and whom to tell."""

    work: Sequence[Run | Waiting]
    done: Callable[[BaseException | None], None]  # called on the slot's thread, where the database may be used


class EventLoop:
    """One thread with one event loop, on which `slots` jobs run at the same time."""

    def __init__(self, turn: Turn, *, slots: int, on_defect: Callable[[BaseException], None]) -> None:
        self._turn = turn
        self._slots = slots
        self._on_defect = on_defect
        self._jobs: asyncio.Queue[Job | None] = asyncio.Queue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="eventbus-async", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Have a job run; from any thread."""
        self._loop.call_soon_threadsafe(self._jobs.put_nowait, job)

    def stop(self, timeout: float) -> None:
        """Let the slots end after what they have; at most `timeout` seconds."""
        for _ in range(self._slots):
            self._loop.call_soon_threadsafe(self._jobs.put_nowait, None)
        self._thread.join(timeout)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        # The end of the thread: in silence, its worker would wait for ever for what the loop has taken.
        except Exception as exc:  # noqa: BLE001
            self._on_defect(exc)
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        await asyncio.gather(*(self._slot() for _ in range(self._slots)))

    async def _slot(self) -> None:
        async with ThreadSensitiveContext():
            while True:
                try:
                    job = await asyncio.wait_for(self._jobs.get(), IDLE)
                except TimeoutError:
                    await sync_to_async(close_connections)()
                    job = await self._jobs.get()
                if job is None:
                    await sync_to_async(close_connections)()
                    return
                await self._perform(job)

    async def _perform(self, job: Job) -> None:
        failure: BaseException | None = None
        try:
            for work in job.work:
                await (self._lane(work) if isinstance(work, Waiting) else self._arrival(work))
        # The boundary of a turn: what is left is a defect of this package, and ends the worker.
        except Exception as exc:  # noqa: BLE001
            failure = exc
        await sync_to_async(job.done)(failure)

    async def _arrival(self, run: Run) -> None:
        turn = self._turn
        for attempt in turn.persistence([[run]], run.using):
            with attempt:
                if run.delivery.handler.is_atomic:
                    await arun_each(partial(turn.ledger_of_runs, attempt), using=run.using, config=turn.config)
                else:
                    await arun_outside(
                        partial(turn.look_at_run, attempt),
                        partial(turn.ledger_of_runs, attempt),
                        using=run.using,
                        config=turn.config,
                    )
            await self._rest(attempt)

    async def _lane(self, lane: Waiting) -> None:
        turn = self._turn
        handler = turn.group.by_name(lane.handler)
        is_atomic = handler is None or handler.is_atomic
        for attempt in turn.persistence([[lane]], lane.using):
            with attempt:
                if is_atomic:
                    await arun_each(partial(turn.ledger_of_lanes, attempt), using=lane.using, config=turn.config)
                else:
                    await arun_outside(
                        partial(turn.look_at_lane, attempt.alone()),
                        partial(turn.ledger_of_lanes, attempt.alone()),
                        using=lane.using,
                        config=turn.config,
                    )
            await self._rest(attempt)

    async def _rest(self, attempt: Attempt[Any]) -> None:
        if attempt.pause:
            await asyncio.sleep(attempt.pause)
            if attempt.is_outage and self._turn.sleep(0):
                raise Abandoned
